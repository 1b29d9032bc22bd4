// SandboxHost over the real driver and a real store: many at once, ends of every kind, and what
// happens when two of them meet.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/uuid.h"
#include "runner/sandboxes/sandbox_host.h"
#include "store/store.h"
#include "store/testing_directory.h"
#include "tests/sandbox/process_driver_under_test.h"

namespace forkbox::sandboxes {
namespace {

using namespace std::chrono_literals;
using store::SandboxRecord;
using store::SandboxState;

// The driver of all tests: its templates warm up once.
sandbox::ProcessDriver& Driver() {
  static const std::unique_ptr<sandbox::ProcessDriver> driver = [] {
    sandbox::ProcessDriverOptions options = sandbox::testing::TestOptions(0);
    options.max_boxes = 128;
    auto started = sandbox::testing::StartProcessDriver(std::move(options));
    EXPECT_TRUE(started.has_value()) << started.error().message;
    return std::move(*started);
  }();
  return *driver;
}

bool Eventually(const std::function<bool()>& what) {
  for (const auto end = std::chrono::steady_clock::now() + 60s;
       std::chrono::steady_clock::now() < end;) {
    if (what()) return true;
    std::this_thread::sleep_for(20ms);
  }
  return false;
}

class Collected final : public execd::EventSink {
 public:
  bool Put(const execd::Event& event) override {
    if (event.type == execd::Event::Type::kStdout) text += event.text + "\n";
    if (event.type == execd::Event::Type::kError) text += "error " + event.evalue + "\n";
    return true;
  }
  std::string text;
};

std::string RunIn(execd::Daemon& daemon, const std::string& command) {
  execd::CommandRequest request;
  request.command = command;
  request.env = daemon.env();
  Collected collected;
  const auto ran = daemon.commands().Run(request, collected);
  return ran ? collected.text : "failed: " + ran.error().message;
}

// A store whose answer is lost, once.
class DoubtfulStore final : public store::SandboxStore {
 public:
  using Pairs = std::vector<std::pair<std::string, std::string>>;

  explicit DoubtfulStore(store::SandboxStore& store) : store_(store) {}

  Result<void> Insert(const SandboxRecord& record) override {
    auto done = store_.Insert(record);
    if (insert.exchange(false)) return Lost();
    return done;
  }
  Result<bool> SetState(const std::string& id, SandboxState to, const std::string& reason,
                        const std::string& message, std::int64_t now) override {
    auto done = store_.SetState(id, to, reason, message, now);
    if (state.exchange(false)) return Lost();
    return done;
  }
  Result<std::optional<SandboxRecord>> Get(const std::string& id) override {
    return store_.Get(id);
  }
  Result<store::SandboxPage> List(const store::SandboxQuery& query) override {
    return store_.List(query);
  }
  Result<bool> DeleteFailed(const std::string& id, std::int64_t now) override {
    return store_.DeleteFailed(id, now);
  }
  Result<bool> SetExpiry(const std::string& id, std::int64_t expires) override {
    return store_.SetExpiry(id, expires);
  }
  Result<bool> SetMetadata(const std::string& id, const Pairs& was, const Pairs& now) override {
    return store_.SetMetadata(id, was, now);
  }
  Result<std::uint64_t> FailOfRunner(const std::string& runner, const std::string& reason,
                                     std::int64_t now) override {
    return store_.FailOfRunner(runner, reason, now);
  }
  Result<std::uint64_t> FailOfLostRunners(std::int64_t before, std::int64_t now) override {
    return store_.FailOfLostRunners(before, now);
  }
  Result<std::uint64_t> Prune(std::int64_t before) override { return store_.Prune(before); }

  std::atomic<bool> insert = false;
  std::atomic<bool> state = false;

 private:
  static tl::unexpected<Error> Lost() { return Fail(ErrorCode::kDeadlineExceeded, "lost"); }

  store::SandboxStore& store_;
};

class SandboxHostTest : public testing::Test {
 protected:
  void SetUp() override {
    auto opened = store::OpenStore("sqlite:" + (directory_.path() / "db").string(), Log::Null());
    ASSERT_TRUE(opened.has_value()) << opened.error().message;
    store_ = std::move(*opened);
    doubts_ = std::make_unique<DoubtfulStore>(store_->sandboxes());
    Begin({});
  }
  void TearDown() override { host_.reset(); }

  void Begin(SandboxHost::Options options) {
    options.runner_id = "r1";
    host_ = std::make_unique<SandboxHost>(
        std::move(options),
        [](const sandbox::BoxLimits& limits) { return Driver().OpenBox(limits); }, *doubts_, clock_,
        Log::Null());
    const auto started = host_->Start();
    ASSERT_TRUE(started.has_value()) << started.error().message;
  }

  static SandboxSpec Spec(std::optional<std::chrono::seconds> timeout = std::nullopt) {
    SandboxSpec spec;
    spec.id = NewUuidV7();
    spec.owner = "alice";
    spec.request = "{}";
    spec.limits.memory_bytes = 256U << 20;
    spec.limits.disk_bytes = 64U << 20;
    spec.timeout = timeout;
    return spec;
  }
  SandboxRecord Make(SandboxSpec spec) {
    const auto made = host_->Create(std::move(spec));
    EXPECT_TRUE(made.has_value()) << made.error().message;
    return made ? *made : SandboxRecord();
  }
  SandboxRecord Row(const std::string& id) {
    const auto row = store_->sandboxes().Get(id);
    EXPECT_TRUE(row && *row) << id;
    return row && *row ? **row : SandboxRecord();
  }
  std::shared_ptr<execd::Daemon> Find(const SandboxRecord& record) {
    auto found = host_->Find(record.id, record.token);
    EXPECT_TRUE(found.has_value()) << found.error().message;
    return found ? *found : nullptr;
  }

  store::TestDirectory directory_;
  SystemClock clock_;
  std::unique_ptr<store::Store> store_;
  std::unique_ptr<DoubtfulStore> doubts_;
  std::unique_ptr<SandboxHost> host_;
};

TEST_F(SandboxHostTest, RunsWhenItReturnsAndItsRowSaysSo) {
  SandboxSpec spec = Spec(60s);
  spec.env = {{"GREETING", "hello"}};
  spec.metadata = {{"k", "v"}};
  const SandboxRecord record = Make(spec);
  EXPECT_EQ(record.state, SandboxState::kRunning);
  EXPECT_EQ(Row(record.id).state, SandboxState::kRunning);
  EXPECT_EQ(Row(record.id).metadata, spec.metadata);
  EXPECT_EQ(*record.expires_unix_ms, record.created_unix_ms + 60'000);
  EXPECT_EQ(record.token.size(), 64U);
  EXPECT_EQ(RunIn(*Find(record), "echo $GREETING; pwd"), "hello\n/box/work\n");
}

// A box that tells where it went.
class TellingBox final : public sandbox::Box {
 public:
  TellingBox(std::unique_ptr<sandbox::Box> box, std::atomic<std::thread::id>* went_on)
      : box_(std::move(box)), went_on_(went_on) {}
  ~TellingBox() override {
    box_.reset();
    *went_on_ = std::this_thread::get_id();
  }
  Result<sandbox::BoxProcess> Start(const sandbox::BoxProgram& program) override {
    return box_->Start(program);
  }
  Result<void> Freeze() override { return box_->Freeze(); }
  Result<void> Thaw() override { return box_->Thaw(); }
  [[nodiscard]] bool Frozen() const override { return box_->Frozen(); }
  void End() override { box_->End(); }
  [[nodiscard]] sandbox::BoxUsage Usage() const override { return box_->Usage(); }
  [[nodiscard]] bool Alive() const override { return box_->Alive(); }

 private:
  std::unique_ptr<sandbox::Box> box_;
  std::atomic<std::thread::id>* const went_on_;
};

TEST_F(SandboxHostTest, WhoUsedASandboxLastDoesNotWaitForItsEnd) {
  std::atomic<std::thread::id> went_on{};
  SandboxHost::Options options;
  options.runner_id = "r2";
  host_ = std::make_unique<SandboxHost>(
      std::move(options),
      [&](const sandbox::BoxLimits& limits) -> Result<std::unique_ptr<sandbox::Box>> {
        auto box = Driver().OpenBox(limits);
        if (!box) return Fail(box.error());
        return std::make_unique<TellingBox>(std::move(*box), &went_on);
      },
      store_->sandboxes(), clock_, Log::Null());
  ASSERT_TRUE(host_->Start().has_value());
  const SandboxRecord record = Make(Spec());
  auto used = Find(record);
  ASSERT_TRUE(host_->Delete(record.id).has_value());
  EXPECT_EQ(went_on.load(), std::thread::id()) << "it is still used";
  used.reset();
  EXPECT_TRUE(Eventually([&] { return went_on.load() != std::thread::id(); }));
  EXPECT_NE(went_on.load(), std::this_thread::get_id());
  // Nobody uses this one: it has gone when it is deleted.
  const SandboxRecord other = Make(Spec());
  went_on = std::thread::id();
  ASSERT_TRUE(host_->Delete(other.id).has_value());
  EXPECT_NE(went_on.load(), std::thread::id());
}

TEST_F(SandboxHostTest, OnlyTheTokenOfASandboxOpensIt) {
  const SandboxRecord a = Make(Spec());
  const SandboxRecord b = Make(Spec());
  EXPECT_NE(a.token, b.token);
  EXPECT_EQ(host_->Find(a.id, b.token).error().code, ErrorCode::kUnauthenticated);
  EXPECT_EQ(host_->Find(a.id, "").error().code, ErrorCode::kUnauthenticated);
  EXPECT_EQ(host_->Find("none", a.token).error().code, ErrorCode::kNotFound);
}

TEST_F(SandboxHostTest, AHundredAtOnceEachItsOwn) {
  constexpr int kMany = 100;
  std::vector<SandboxRecord> records(kMany);
  std::atomic<int> next{0};
  const auto work = [&] {
    for (int i; (i = next++) < kMany;) {
      SandboxSpec spec = Spec();
      spec.limits.memory_bytes = 64U << 20;
      spec.limits.disk_bytes = 8U << 20;
      records[static_cast<std::size_t>(i)] = Make(spec);
      const auto daemon = Find(records[static_cast<std::size_t>(i)]);
      ASSERT_NE(daemon, nullptr);
      EXPECT_EQ(RunIn(*daemon, "test -e mine && echo taken; echo " + std::to_string(i) +
                                   " > mine; cat mine"),
                std::to_string(i) + "\n");
    }
  };
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 8; ++i) threads.emplace_back(work);
  }
  EXPECT_EQ(host_->size(), std::size_t{kMany});
  for (int i = 0; i < kMany; i += 9) {
    EXPECT_EQ(RunIn(*Find(records[static_cast<std::size_t>(i)]), "cat mine"),
              std::to_string(i) + "\n");
  }
  host_->Close("server_stopped");
  EXPECT_EQ(host_->size(), 0U);
  for (const SandboxRecord& record : records) {
    const SandboxRecord row = Row(record.id);
    EXPECT_EQ(row.state, SandboxState::kTerminated);
    EXPECT_EQ(row.reason, "server_stopped");
  }
  EXPECT_EQ(host_->Create(Spec()).error().code, ErrorCode::kUnavailable);
}

TEST_F(SandboxHostTest, EndsWhenItsTimeIsOverWhateverRunsInIt) {
  std::vector<SandboxRecord> records;
  for (int i = 0; i < 8; ++i) records.push_back(Make(Spec(2s)));
  const SandboxRecord stays = Make(Spec(120s));
  std::vector<std::jthread> busy;
  for (const SandboxRecord& record : records) {
    busy.emplace_back([daemon = Find(record)] { RunIn(*daemon, "while :; do :; done"); });
  }
  for (const SandboxRecord& record : records) {
    ASSERT_TRUE(Eventually([&] { return store::IsFinal(Row(record.id).state); }));
    EXPECT_EQ(Row(record.id).state, SandboxState::kTerminated);
    EXPECT_EQ(Row(record.id).reason, "expired");
    EXPECT_GE(Row(record.id).changed_unix_ms, *record.expires_unix_ms);
    EXPECT_EQ(host_->Find(record.id, record.token).error().code, ErrorCode::kNotFound);
  }
  busy.clear();
  EXPECT_EQ(RunIn(*Find(stays), "echo here"), "here\n");
}

TEST_F(SandboxHostTest, WhatIsRenewedInTimeLives) {
  const SandboxRecord record = Make(Spec(2s));
  const auto until = std::chrono::steady_clock::now() + 4s;
  while (std::chrono::steady_clock::now() < until) {
    const auto renewed = host_->Renew(record.id, clock_.UnixMillis() + 2'000);
    ASSERT_TRUE(renewed.has_value()) << renewed.error().message;
    std::this_thread::sleep_for(100ms);
  }
  EXPECT_EQ(Row(record.id).state, SandboxState::kRunning);
  EXPECT_GT(*Row(record.id).expires_unix_ms, *record.expires_unix_ms);
  ASSERT_TRUE(Eventually([&] { return Row(record.id).state == SandboxState::kTerminated; }));
  EXPECT_EQ(host_->Renew(record.id, clock_.UnixMillis() + 60'000).error().code,
            ErrorCode::kNotFound);
}

TEST_F(SandboxHostTest, RenewsWhatCanBe) {
  const SandboxRecord forever = Make(Spec());
  const SandboxRecord record = Make(Spec(60s));
  const std::int64_t now = clock_.UnixMillis();
  EXPECT_EQ(host_->Renew(forever.id, now + 60'000).error().code, ErrorCode::kConflict);
  EXPECT_EQ(host_->Renew(record.id, now - 1).error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(host_->Renew("none", now + 60'000).error().code, ErrorCode::kNotFound);
}

TEST_F(SandboxHostTest, ToUseItRenewsItWhereThatWasAskedFor) {
  SandboxSpec spec = Spec(60s);
  spec.renew_on_access = 300s;
  const SandboxRecord record = Make(spec);
  ASSERT_NE(Find(record), nullptr);
  EXPECT_TRUE(Eventually(
      [&] { return *Row(record.id).expires_unix_ms >= record.created_unix_ms + 300'000; }));
}

TEST_F(SandboxHostTest, OfManyThatDeleteOneDoes) {
  for (int round = 0; round < 5; ++round) {
    const SandboxRecord record = Make(Spec(120s));
    std::atomic<int> deleted{0};
    std::atomic<int> strange{0};
    {
      std::vector<std::jthread> threads;
      for (int i = 0; i < 4; ++i) {
        threads.emplace_back([&] {
          const auto done = host_->Delete(record.id);
          if (done) ++deleted;
          if (!done && done.error().code != ErrorCode::kNotFound) ++strange;
        });
        threads.emplace_back([&] {
          const auto renewed = host_->Renew(record.id, clock_.UnixMillis() + 60'000);
          if (!renewed && renewed.error().code != ErrorCode::kNotFound) ++strange;
        });
      }
    }
    EXPECT_EQ(deleted, 1);
    EXPECT_EQ(strange, 0);
    EXPECT_EQ(Row(record.id).state, SandboxState::kTerminated);
    EXPECT_EQ(Row(record.id).reason, "deleted");
  }
  EXPECT_EQ(host_->size(), 0U);
}

TEST_F(SandboxHostTest, APausedOneStandsStillAndGoesOn) {
  const SandboxRecord record = Make(Spec(120s));
  const auto daemon = Find(record);
  execd::CommandRequest request;
  request.command = "while :; do echo x >> ticks; sleep 0.02; done";
  Collected unheard;
  ASSERT_TRUE(daemon->commands().RunInBackground(request, unheard).has_value());
  ASSERT_TRUE(Eventually([&] { return RunIn(*daemon, "wc -l < ticks") > "3"; }));

  ASSERT_TRUE(host_->Pause(record.id).has_value());
  EXPECT_EQ(Row(record.id).state, SandboxState::kPaused);
  EXPECT_EQ(host_->Find(record.id, record.token).error().code, ErrorCode::kConflict);
  EXPECT_EQ(host_->Find(record.id, "wrong").error().code, ErrorCode::kUnauthenticated);
  EXPECT_EQ(host_->Pause(record.id).error().code, ErrorCode::kConflict);
  const std::uint64_t before = host_->Usage(record.id)->cpu_us;
  std::this_thread::sleep_for(300ms);
  EXPECT_EQ(host_->Usage(record.id)->cpu_us, before);

  ASSERT_TRUE(host_->Resume(record.id).has_value());
  EXPECT_EQ(Row(record.id).state, SandboxState::kRunning);
  EXPECT_EQ(host_->Resume(record.id).error().code, ErrorCode::kConflict);
  EXPECT_TRUE(Eventually([&] { return host_->Usage(record.id)->cpu_us > before; }));
  EXPECT_EQ(RunIn(*Find(record), "echo on"), "on\n");
  ASSERT_TRUE(host_->Pause(record.id).has_value());
  EXPECT_TRUE(host_->Delete(record.id).has_value()) << "a paused one can be deleted";
}

TEST_F(SandboxHostTest, APausedOneExpires) {
  const SandboxRecord record = Make(Spec(2s));
  ASSERT_TRUE(host_->Pause(record.id).has_value());
  EXPECT_TRUE(Eventually([&] { return Row(record.id).state == SandboxState::kTerminated; }));
}

TEST_F(SandboxHostTest, OneThatDiesByItselfHasFailed) {
  const SandboxRecord record = Make(Spec(120s));
  Find(record)->box().End();
  ASSERT_TRUE(Eventually([&] { return store::IsFinal(Row(record.id).state); }));
  EXPECT_EQ(Row(record.id).state, SandboxState::kFailed);
  EXPECT_EQ(Row(record.id).reason, "sandbox_died");
  EXPECT_TRUE(Eventually([&] { return host_->size() == 0; }));
}

TEST_F(SandboxHostTest, AFullHostSaysSo) {
  host_.reset();
  SandboxHost::Options small;
  small.max_sandboxes = 2;
  small.max_memory_bytes = 512U << 20;
  Begin(small);
  const SandboxRecord first = Make(Spec());
  SandboxSpec large = Spec();
  large.limits.memory_bytes = 300U << 20;
  EXPECT_EQ(host_->Create(large).error().code, ErrorCode::kQueueFull);
  Make(Spec());
  EXPECT_EQ(host_->room().sandboxes, 0U);
  EXPECT_EQ(host_->room().memory_bytes, 0U);
  EXPECT_EQ(host_->Create(Spec()).error().code, ErrorCode::kQueueFull);
  ASSERT_TRUE(host_->Delete(first.id).has_value());
  EXPECT_TRUE(host_->Create(Spec()).has_value());
}

TEST_F(SandboxHostTest, OneThatWasDeletedBeforeItWasMadeIsNot) {
  const SandboxSpec spec = Spec();
  EXPECT_EQ(host_->Delete(spec.id).error().code, ErrorCode::kNotFound);
  EXPECT_EQ(host_->Create(spec).error().code, ErrorCode::kNotFound);
  EXPECT_EQ(host_->size(), 0U);
  EXPECT_EQ(host_->room().sandboxes, 128U);
  EXPECT_TRUE(host_->Create(Spec()).has_value());

  // While it is made.
  const SandboxSpec slow = Spec();
  std::jthread maker([&] {
    const auto made = host_->Create(slow);
    EXPECT_TRUE(made || made.error().code == ErrorCode::kNotFound);
  });
  (void)host_->Delete(slow.id);
  maker.join();
  const auto row = *store_->sandboxes().Get(slow.id);
  EXPECT_TRUE(!row || store::IsFinal(row->state));
  EXPECT_EQ(host_->size(), 1U);
}

TEST_F(SandboxHostTest, AnInsertThatMayHaveBeenWrittenIsTakenBack) {
  doubts_->insert = true;
  const SandboxSpec spec = Spec();
  EXPECT_EQ(host_->Create(spec).error().code, ErrorCode::kDeadlineExceeded);
  EXPECT_TRUE(Eventually([&] { return Row(spec.id).state == SandboxState::kFailed; }));
  EXPECT_EQ(Row(spec.id).reason, "not_started");
  EXPECT_EQ(host_->size(), 0U);
}

TEST_F(SandboxHostTest, AStateThatMayHaveBeenWrittenIsMended) {
  const SandboxRecord record = Make(Spec(120s));
  doubts_->state = true;
  EXPECT_EQ(host_->Pause(record.id).error().code, ErrorCode::kDeadlineExceeded);
  EXPECT_EQ(Row(record.id).state, SandboxState::kPaused) << "which it is not";
  EXPECT_NE(Find(record), nullptr);
  // Whoever goes by the row gets what he wants.
  EXPECT_TRUE(host_->Resume(record.id).has_value());
  EXPECT_EQ(Row(record.id).state, SandboxState::kRunning);

  ASSERT_TRUE(host_->Pause(record.id).has_value());
  doubts_->state = true;
  EXPECT_EQ(host_->Resume(record.id).error().code, ErrorCode::kDeadlineExceeded);
  EXPECT_TRUE(Eventually([&] { return Row(record.id).state == SandboxState::kPaused; }))
      << "by itself";
  EXPECT_TRUE(host_->Resume(record.id).has_value());
  EXPECT_EQ(RunIn(*Find(record), "echo on"), "on\n");
}

TEST_F(SandboxHostTest, TheEntrypointRunsBesideWhatIsAsked) {
  SandboxSpec spec = Spec();
  spec.entrypoint = {"bash", "-c", "echo \"$0 $NAME\" > said", "it's"};
  spec.env = {{"NAME", "me"}};
  const SandboxRecord record = Make(spec);
  const auto daemon = Find(record);
  EXPECT_TRUE(Eventually([&] { return RunIn(*daemon, "cat said 2>/dev/null") == "it's me\n"; }));
}

TEST_F(SandboxHostTest, RowsOfAnEarlierLifeFail) {
  const SandboxRecord live = Make(Spec());
  host_.reset();
  SandboxRecord left = live;
  left.id = NewUuidV7();
  ASSERT_TRUE(store_->sandboxes().Insert(left).has_value());
  Begin({});
  EXPECT_EQ(Row(left.id).state, SandboxState::kFailed);
  EXPECT_EQ(Row(left.id).reason, "runner_restarted");
  EXPECT_EQ(Row(live.id).reason, "server_stopped");
}

TEST_F(SandboxHostTest, AForkHasTheFilesAndNothingElse) {
  SandboxSpec spec = Spec(60s);
  spec.env = {{"NAME", "me"}};
  const SandboxRecord first = Make(spec);
  const auto source = Find(first);
  ASSERT_EQ(RunIn(*source,
                  "mkdir -p d/e && echo deep > d/e/f && ln -s d/e/f link && chmod 640 d/e/f &&"
                  " echo hidden > .dot && echo t > /tmp/t && mkfifo pipe &&"
                  " head -c 3000000 /dev/urandom > big"),
            "");
  const auto forked = host_->Fork(first.id, Spec());
  ASSERT_TRUE(forked.has_value()) << forked.error().message;
  const auto copy = Find(*forked);
  EXPECT_NE(forked->token, first.token);
  EXPECT_EQ(RunIn(*copy, "cat link .dot /tmp/t; stat -c %a d/e/f; test -p pipe && echo $NAME"),
            "deep\nhidden\nt\n640\nme\n");
  EXPECT_EQ(RunIn(*copy, "sha256sum < big"), RunIn(*source, "sha256sum < big"));
  // Whatever folders there are to write to, but for memory that processes share.
  const std::string folders = "for d in /workspace /home /root /var /var/tmp /srv /data; do ";
  ASSERT_EQ(RunIn(*source, folders + "[ -w $d ] && mkdir -p $d/deep/er && echo $d > $d/deep/er/f;"
                                     " done; echo s > /dev/shm/shared"),
            "");
  const auto second = host_->Fork(first.id, Spec());
  ASSERT_TRUE(second.has_value()) << second.error().message;
  const std::string listing =
      folders + "[ -w $d ] && stat -c '%n %a' $d && cat $d/deep/er/f; done; echo end";
  EXPECT_EQ(RunIn(*Find(*second), listing), RunIn(*source, listing));
  EXPECT_EQ(RunIn(*Find(*second), "ls /dev/shm"), "");
  ASSERT_EQ(RunIn(*copy, "echo other > d/e/f"), "");
  EXPECT_EQ(RunIn(*source, "cat d/e/f"), "deep\n");

  EXPECT_EQ(host_->Fork("none", Spec()).error().code, ErrorCode::kNotFound);
  ASSERT_TRUE(host_->Pause(first.id).has_value());
  EXPECT_EQ(host_->Fork(first.id, Spec()).error().code, ErrorCode::kConflict);
}

}  // namespace
}  // namespace forkbox::sandboxes
