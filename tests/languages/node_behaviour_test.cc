// A forked copy of a warm node is `node main.js`: every program of node/ runs in a sandbox and in
// the stock binary, and stdout, stderr and the way it ends are the same, to the last stack frame.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "base/unique_fd.h"
#include "runner/sandbox/process_driver.h"

namespace forkbox {
namespace {

namespace fs = std::filesystem;
using std::chrono::seconds;
using std::chrono::steady_clock;

constexpr const char* kWorkPath = "/box/work";

std::string ReadFile(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

void WriteFile(const fs::path& path, const std::string& text) {
  fs::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << text;
}

std::string ReplaceAll(std::string text, const std::string& from, const std::string& to) {
  for (std::size_t at = text.find(from); at != std::string::npos;
       at = text.find(from, at + to.size())) {
    text.replace(at, from.size(), to);
  }
  return text;
}

// What a program can show of itself.
struct Shown {
  std::string ending;
  std::string out;
  std::string err;
};

// Process ids differ, and the binary has another name inside.
Shown Normal(Shown shown) {
  static const std::regex kPid(R"(\(node:\d+\))");
  for (std::string* text : {&shown.out, &shown.err}) {
    *text = std::regex_replace(*text, kPid, "(node:PID)");
  }
  return shown;
}

schema::Source SourceOf(const std::string& code) {
  schema::Source source;
  source.code = code;
  const fs::path programs(FORKBOX_NODE_PROGRAMS);
  for (const auto& entry : fs::directory_iterator(programs / "lib")) {
    source.files.push_back({"lib/" + entry.path().filename().string(), ReadFile(entry.path())});
  }
  for (int i = 0; i < 3000; ++i) source.stdin_data += "line " + std::to_string(i) + "\n";
  source.args = {"a", "b"};
  return source;
}

class TempDirectory {
 public:
  TempDirectory() {
    std::string pattern = (fs::temp_directory_path() / "node_behaviour.XXXXXX").string();
    path_ = ::mkdtemp(pattern.data());
  }
  ~TempDirectory() { fs::remove_all(path_); }
  TempDirectory(const TempDirectory&) = delete;
  TempDirectory& operator=(const TempDirectory&) = delete;
  [[nodiscard]] const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

struct Pipe {
  Pipe() {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) return;
    read.Reset(ends[0]);
    write.Reset(ends[1]);
  }
  UniqueFd read;
  UniqueFd write;
};

void ReadAll(int fd, std::string* text) {
  std::array<char, 65536> bytes{};
  for (ssize_t n = 0; (n = ::read(fd, bytes.data(), bytes.size())) > 0;) {
    text->append(bytes.data(), static_cast<std::size_t>(n));
  }
}

// On pipes, as in a sandbox: node treats files otherwise.
Shown RunStock(const schema::Source& source) {
  const TempDirectory work;
  WriteFile(work.path() / "main.js", source.code);
  for (const auto& file : source.files) WriteFile(work.path() / file.path, file.content);
  const std::string directory = work.path().string();
  const std::string home = "HOME=" + directory;
  const std::string node = FORKBOX_RUNTIME_DIR "/node-dist/bin/node";
  const char* const argv[] = {"node", "main.js", "a", "b", nullptr};
  const char* const envp[] = {"PATH=/usr/bin:/bin", home.c_str(), "LANG=C.UTF-8", nullptr};
  Pipe in;
  Pipe out;
  Pipe err;
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::dup2(in.read.get(), STDIN_FILENO);
    ::dup2(out.write.get(), STDOUT_FILENO);
    ::dup2(err.write.get(), STDERR_FILENO);
    if (::chdir(directory.c_str()) == 0) {
      ::execve(node.c_str(), const_cast<char* const*>(argv), const_cast<char* const*>(envp));
    }
    ::_exit(127);
  }
  in.read.Reset();
  out.write.Reset();
  err.write.Reset();
  Shown shown;
  {
    const std::jthread reads_out([&] { ReadAll(out.read.get(), &shown.out); });
    const std::jthread reads_err([&] { ReadAll(err.read.get(), &shown.err); });
    // Smaller than a pipe, and SIGPIPE is ignored: it need not be read.
    (void)!::write(in.write.get(), source.stdin_data.data(), source.stdin_data.size());
    in.write.Reset();
  }
  int status = 0;
  ::waitpid(pid, &status, 0);
  shown.ending = WIFEXITED(status) ? "exit " + std::to_string(WEXITSTATUS(status))
                                   : "signal " + std::to_string(WTERMSIG(status));
  for (std::string* text : {&shown.out, &shown.err}) {
    *text = ReplaceAll(*text, directory, kWorkPath);
  }
  return shown;
}

class NodeBehaviour : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    if (::getuid() != 0) return;
    ::signal(SIGPIPE, SIG_IGN);
    sandbox::ProcessDriverOptions options;
    options.forkserver_path = FORKBOX_FORKSERVER;
    options.runtime_dir = FORKBOX_RUNTIME_DIR;
    auto started = sandbox::ProcessDriver::Start(std::move(options));
    ASSERT_TRUE(started) << started.error().message;
    auto opened = (*started)->Open(steady_clock::now() + seconds(60));
    ASSERT_TRUE(opened) << opened.error().message;
    driver_ = started->release();
  }
  static void TearDownTestSuite() {
    delete driver_;
    driver_ = nullptr;
  }

  void SetUp() override {
    if (driver_ == nullptr) GTEST_SKIP() << "sandboxes of their own uid need root";
    for (const auto& language : driver_->Languages()) {
      if (language.id != "javascript") continue;
      ASSERT_TRUE(language.ready) << language.reason;
      ASSERT_EQ(language.reason, "") << "the template did not come up";
    }
  }

  static schema::Outcome Run(const schema::Source& source) {
    schema::Limits limits;
    limits.memory_bytes = 512ULL << 20;
    limits.output_bytes = 32ULL << 20;
    auto sandbox = driver_->Fork("javascript", limits);
    if (!sandbox) {
      schema::Outcome none;
      none.message = sandbox.error().message;
      return none;
    }
    return (*sandbox)->Run(source, {});
  }

  static schema::Outcome RunCode(const std::string& code) {
    schema::Source source;
    source.code = code;
    return Run(source);
  }

  static Shown RunForked(const schema::Source& source) {
    const schema::Outcome outcome = Run(source);
    std::string ending = std::string(schema::ToString(outcome.reason)) + " " + outcome.message;
    if (outcome.reason == schema::Reason::kExited) {
      ending = "exit " + std::to_string(outcome.exit_code.value_or(-1));
    } else if (outcome.reason == schema::Reason::kSignalled) {
      ending = "signal " + std::to_string(outcome.signal.value_or(-1));
    }
    return {ending, outcome.stdout_text, outcome.stderr_text};
  }

  static sandbox::ProcessDriver* driver_;
};
sandbox::ProcessDriver* NodeBehaviour::driver_ = nullptr;

class NodeProgram : public NodeBehaviour, public testing::WithParamInterface<fs::path> {};

TEST_P(NodeProgram, CannotTellTheDifference) {
  const schema::Source source = SourceOf(ReadFile(GetParam()));
  const Shown stock = Normal(RunStock(source));
  const Shown forked = Normal(RunForked(source));
  EXPECT_EQ(forked.ending, stock.ending);
  EXPECT_EQ(forked.out, stock.out);
  EXPECT_EQ(forked.err, stock.err);
}

std::vector<fs::path> Programs() {
  std::vector<fs::path> programs;
  for (const auto& entry : fs::directory_iterator(FORKBOX_NODE_PROGRAMS)) {
    if (entry.is_regular_file()) programs.push_back(entry.path());
  }
  std::sort(programs.begin(), programs.end());
  return programs;
}

INSTANTIATE_TEST_SUITE_P(Programs, NodeProgram, testing::ValuesIn(Programs()),
                         [](const auto& test) { return test.param.stem().string(); });

// Every source of random numbers there is, in many forks at once and one after the other.
TEST_F(NodeBehaviour, NoTwoForksDrawTheSame) {
  const std::string code = R"(
    const crypto = require('crypto');
    const draw = (n, f) => Array.from({ length: n }, f).join();
    const { Worker } = require('worker_threads');
    console.log(draw(3, Math.random));
    console.log(require('vm').runInNewContext('Math.random()'));
    console.log(crypto.randomBytes(16).toString('hex'));
    console.log(crypto.randomUUID());
    console.log(draw(1, () => crypto.randomInt(2 ** 47)));
    console.log(globalThis.crypto.randomUUID());
    console.log(draw(2, () => globalThis.crypto.getRandomValues(new BigUint64Array(1))));
    console.log(crypto.generateKeySync('aes', { length: 256 }).export().toString('hex'));
    crypto.randomBytes(16, (_, bytes) => console.log(bytes.toString('hex')));
    new Worker('console.log(Math.random(), require("crypto").randomUUID())', { eval: true });
  )";
  constexpr int kThreads = 4;
  constexpr int kRounds = 8;
  std::vector<std::vector<schema::Outcome>> outputs(kThreads);
  {
    std::vector<std::jthread> threads;
    for (auto& own : outputs) {
      threads.emplace_back([&own, &code] {
        for (int i = 0; i < kRounds; ++i) own.push_back(RunCode(code));
      });
    }
  }
  std::set<std::string> lines;
  std::size_t drawn = 0;
  for (const auto& own : outputs) {
    for (const schema::Outcome& outcome : own) {
      std::istringstream text(outcome.stdout_text);
      std::size_t count = 0;
      for (std::string line; std::getline(text, line); ++count) lines.insert(line);
      EXPECT_EQ(count, 10U) << schema::ToString(outcome.reason) << ' ' << outcome.message
                            << outcome.stdout_text << outcome.stderr_text;
      drawn += count;
    }
  }
  EXPECT_EQ(lines.size(), drawn) << "the same number was drawn twice";
}

// Two contexts of one run are strangers too.
TEST_F(NodeBehaviour, ContextsOfOneRunDrawDifferently) {
  const schema::Outcome outcome = RunCode(R"(
    const vm = require('vm');
    const draws = [Math.random(), ...[1, 2, 3].map(() => vm.runInNewContext('Math.random()'))];
    console.log(new Set(draws).size);
  )");
  EXPECT_EQ(outcome.stdout_text, "4\n");
}

struct EnvironmentCase {
  const char* name;
  std::map<std::string, std::string> env;
  const char* code;
  const char* expected;
};

class NodeEnvironment : public NodeBehaviour,
                        public testing::WithParamInterface<EnvironmentCase> {};

TEST_P(NodeEnvironment, IsTheJobsOwn) {
  schema::Source source;
  source.code = GetParam().code;
  source.env = GetParam().env;
  source.files = {{"modules/own/index.js", "module.exports = 'found';"}};
  const schema::Outcome outcome = Run(source);
  EXPECT_EQ(outcome.stdout_text, GetParam().expected) << outcome.stderr_text;
}

INSTANTIATE_TEST_SUITE_P(
    Variables, NodeEnvironment,
    testing::Values(
        EnvironmentCase{"nothing_of_the_template",
                        {},
                        "console.log(Object.keys(process.env).filter((k) => /^LD_|^NODE/.test(k)))",
                        "[]\n"},
        EnvironmentCase{"a_variable",
                        {{"WORD", "v\xC3\xA4lue"}},
                        "console.log(process.env.WORD)",
                        "v\xC3\xA4lue\n"},
        EnvironmentCase{"no_certificates_of_the_host",
                        {{"NODE_EXTRA_CA_CERTS", "/etc/ssl/certs/ca-certificates.crt"}},
                        "console.log(process.env.NODE_EXTRA_CA_CERTS)",
                        "undefined\n"},
        EnvironmentCase{
            "time_zone", {{"TZ", "Asia/Tokyo"}}, "console.log(new Date(0).getHours())", "9\n"},
        EnvironmentCase{"module_path",
                        {{"NODE_PATH", "/box/work/modules"}},
                        "console.log(require('own'))",
                        "found\n"},
        // What only a start of Node reads brings a real start.
        EnvironmentCase{"start_options",
                        {{"NODE_OPTIONS", "--expose-gc"}},
                        "console.log(typeof gc, process.argv[1])",
                        "function /box/work/main.js\n"},
        EnvironmentCase{"locale",
                        {{"LC_ALL", "de_DE.UTF-8"}},
                        "console.log(Intl.NumberFormat().resolvedOptions().locale)",
                        "de-DE\n"}),
    [](const auto& test) { return test.param.name; });

// V8's memory reducer would run a full collection in every fork of a template some seconds old,
// and clocks would tell the template's age.
TEST_F(NodeBehaviour, AnOldTemplateMakesYoungPrograms) {
  const schema::Outcome outcome =
      RunCode("setTimeout(() => console.log(process.uptime() < 20, performance.now() < 20000), 5)");
  EXPECT_EQ(outcome.stdout_text, "true true\n");
}

// Nothing is lost by leaving at once: output is written when it is said.
TEST_F(NodeBehaviour, ExitKeepsWhatWasWritten) {
  const schema::Outcome outcome = RunCode(
      "process.stdout.write('x'.repeat(5e6)); process.stderr.write('y'.repeat(3e6)); "
      "process.exit(6)");
  EXPECT_EQ(outcome.exit_code, 6);
  EXPECT_EQ(outcome.stdout_text.size(), 5'000'000U);
  EXPECT_EQ(outcome.stderr_text.size(), 3'000'000U);
}

// V8 remembers thread ids, and the main thread went on with the one it had in the template, a small
// number. When a new thread of the child was given that number, the two took each other's locks
// and one run in ten died in a collection: "Check failed: old_state.IsParked()".
TEST_F(NodeBehaviour, ThreadsOfAChildNeverTakeEachOthersLocks) {
  const std::string code = ReadFile(fs::path(FORKBOX_NODE_PROGRAMS) / "garbage_collection.js");
  for (int i = 0; i < 20; ++i) {
    const schema::Outcome outcome = RunCode(code);
    ASSERT_EQ(outcome.stdout_text, "2 200000 100\n") << "run " << i << ": " << outcome.stderr_text;
  }
}

// The limit on processes must not stop collections and compilations: they run on the main thread.
TEST_F(NodeBehaviour, WorksWithoutThreads) {
  schema::Source source;
  source.code = ReadFile(fs::path(FORKBOX_NODE_PROGRAMS) / "garbage_collection.js");
  schema::Limits limits;
  limits.memory_bytes = 512ULL << 20;
  limits.pids = 1;
  auto sandbox = driver_->Fork("javascript", limits);
  ASSERT_TRUE(sandbox) << sandbox.error().message;
  const schema::Outcome outcome = (*sandbox)->Run(source, {});
  EXPECT_EQ(outcome.stdout_text, "2 200000 100\n") << outcome.stderr_text;
}

}  // namespace
}  // namespace forkbox
