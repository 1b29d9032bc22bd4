#include "tests/execd/contexts_under_test.h"

#include <chrono>
#include <utility>

namespace forkbox::execd::testing {

bool Told::Put(const Event& event) {
  if (before && !before(event)) return false;
  std::lock_guard lock(mutex_);
  events_.push_back(event);
  changed_.notify_all();
  return true;
}

std::vector<Event> Told::events() const {
  std::lock_guard lock(mutex_);
  return events_;
}

std::vector<std::string> Told::Story() const {
  std::vector<std::string> story;
  Event::Type previous = Event::Type::kPing;
  for (const Event& event : events()) {
    if (event.type == Event::Type::kPing) continue;
    const bool goes_on = event.type == previous;
    previous = event.type;
    switch (event.type) {
      case Event::Type::kInit:
        story.emplace_back("init");
        break;
      case Event::Type::kStdout:
        goes_on ? story.back() += event.text : story.emplace_back("out " + event.text);
        break;
      case Event::Type::kStderr:
        goes_on ? story.back() += event.text : story.emplace_back("err " + event.text);
        break;
      case Event::Type::kStatus:
        story.push_back("status " + event.text);
        break;
      case Event::Type::kError:
        story.push_back("error " + event.ename + ": " + event.evalue);
        break;
      case Event::Type::kResult:
        story.push_back("result " + event.results.dump());
        break;
      case Event::Type::kExecutionCount:
        story.push_back("count " + std::to_string(event.execution_count));
        break;
      case Event::Type::kExecutionComplete:
        story.emplace_back("complete");
        break;
      case Event::Type::kPing:
        break;
    }
  }
  return story;
}

std::vector<std::string> Told::Cell() const {
  std::vector<std::string> story = Story();
  if (story.size() < 2 || story.front() != "init" || story.back() != "complete") {
    ADD_FAILURE() << "no whole cell: " << ::testing::PrintToString(story);
    return story;
  }
  story.erase(story.begin());
  story.pop_back();
  return story;
}

std::string Told::Text(Event::Type type) const {
  std::string text;
  for (const Event& event : events()) {
    if (event.type == type) text += event.text;
  }
  return text;
}

std::size_t Told::Count(Event::Type type) const {
  std::size_t count = 0;
  for (const Event& event : events()) count += event.type == type ? 1 : 0;
  return count;
}

Event Told::Error() const {
  Event found;
  for (const Event& event : events()) {
    if (event.type == Event::Type::kError) found = event;
  }
  return found;
}

nlohmann::json Told::Result() const {
  nlohmann::json found;
  for (const Event& event : events()) {
    if (event.type == Event::Type::kResult) found = event.results;
  }
  return found;
}

bool Told::WaitForOutput(const std::string& text) const {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, std::chrono::seconds(60), [&] {
    std::string all;
    for (const Event& event : events_) {
      if (event.type == Event::Type::kStdout) all += event.text;
    }
    return all.find(text) != std::string::npos;
  });
}

void ContextsTest::SetUpTestSuite() {
  driver_ = &dynamic_cast<sandbox::ProcessDriver&>(
      sandbox::testing::SharedDriver(sandbox::testing::ProcessDriverUnderTest(1)));
  // Templates start when the first fork is wanted, and stay: they are nothing that is left over.
  auto box = driver_->OpenBox({});
  ASSERT_TRUE(box) << box.error().message;
  ASSERT_TRUE(Files(**box).Info("/"));
  for (const std::string& language : Options().languages) {
    sandbox::BoxProgram program;
    program.kind = sandbox::BoxProgram::Kind::kSession;
    program.language = language;
    auto process = (*box)->Start(program);
    ASSERT_TRUE(process) << language << ": " << process.error().message;
  }
  // What the box held goes by and by; the first test begins when it has gone.
  box->reset();
  std::this_thread::sleep_for(std::chrono::milliseconds(500));
}

void ContextsTest::SetUp() {
  probe_ = std::make_unique<sandbox::testing::LeftoversProbe>(*driver_);
  Open({}, Options());
}

void ContextsTest::TearDown() {
  contexts_.reset();
  files_.reset();
  box_.reset();
  EXPECT_EQ(probe_->WaitUntilClean(), "");
}

void ContextsTest::Open(const sandbox::BoxLimits& limits, Contexts::Options options) {
  contexts_.reset();
  files_.reset();
  box_.reset();
  auto box = driver_->OpenBox(limits);
  ASSERT_TRUE(box) << box.error().message;
  box_ = std::move(*box);
  files_ = std::make_unique<Files>(*box_);
  contexts_ = std::make_unique<Contexts>(std::move(options), *box_, *files_, clock_, Log::Null());
}

Contexts::Options ContextsTest::Options() {
  Contexts::Options options;
  options.languages = {"python", "javascript", "typescript"};
  options.env = {{"GREETING", "hello"}};
  options.transpile = [](const std::string& code) -> Result<std::string> {
    if (code.find("@@") != std::string::npos) {
      return Fail(ErrorCode::kInvalidArgument, "unexpected @@\n1 | let @@");
    }
    std::string javascript = code;
    const std::string type = ": number";
    if (const auto at = javascript.find(type); at != std::string::npos) {
      javascript.erase(at, type.size());
    }
    return javascript;
  };
  return options;
}

std::string ContextsTest::NewContext(const std::string& language) {
  auto created = contexts_->Create(language, "");
  EXPECT_TRUE(created) << created.error().message;
  return created ? created->id : "";
}

Told& ContextsTest::Run(const std::string& id, const std::string& code) {
  last_ = std::make_unique<Told>();
  const auto ran = contexts_->Run(id, code, *last_);
  EXPECT_TRUE(ran) << ran.error().message << ": " << code;
  return *last_;
}

std::unique_ptr<ContextsTest::Running> ContextsTest::Begin(
    const std::string& id, const std::string& code, std::function<bool(const Event&)> before) {
  auto running = std::make_unique<Running>();
  running->told.before = std::move(before);
  running->thread = std::jthread([this, id, code, told = &running->told] {
    const auto ran = contexts_->Run(id, code, *told);
    EXPECT_TRUE(ran) << ran.error().message;
  });
  return running;
}

std::vector<std::string> ContextsTest::Ids() const {
  std::vector<std::string> ids;
  for (const ContextInfo& info : contexts_->List("")) ids.push_back(info.id);
  return ids;
}

}  // namespace forkbox::execd::testing
