// Parts of the engine die, run out or are missing: what the rest says, and that it is whole again.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <map>
#include <thread>

#include "base/unique_fd.h"
#include "tests/sandbox/leftovers_probe.h"
#include "tests/sandbox/long_run.h"
#include "tests/sandbox/process_driver_under_test.h"

namespace forkbox::sandbox::testing {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using schema::Outcome;
using schema::Reason;
using std::chrono::steady_clock;
using ::testing::HasSubstr;

// True as soon as `condition` is; false when it has not become so in time.
template <class Condition>
bool Eventually(Condition condition, std::chrono::milliseconds patience = 20s) {
  const auto give_up = steady_clock::now() + patience;
  while (!condition()) {
    if (steady_clock::now() > give_up) return false;
    std::this_thread::sleep_for(5ms);
  }
  return true;
}

bool IsAlive(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string line;
  std::getline(file, line);
  const auto end = line.rfind(')');
  return end != std::string::npos && line.substr(end + 2, 1) != "Z";
}

std::size_t CountAlive(const std::vector<pid_t>& pids) {
  return static_cast<std::size_t>(std::count_if(pids.begin(), pids.end(), IsAlive));
}

std::size_t CountDirectories(const std::vector<std::string>& cgroups) {
  std::size_t count = 0;
  for (const std::string& name : cgroups) count += FindCgroups(name).size();
  return count;
}

std::unique_ptr<ProcessDriver> StartOrFail(ProcessDriverOptions options) {
  ::signal(SIGPIPE, SIG_IGN);
  auto driver = StartProcessDriver(std::move(options));
  EXPECT_TRUE(driver) << driver.error().message;
  return driver ? std::move(*driver) : nullptr;
}

// First, while this process has no threads: it forks a driver.
TEST(ADriver, ThatIsKilledTakesEverythingWithItAndTheNextStartClearsUp) {
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    auto driver = StartOrFail(TestOptions(2));
    if (driver == nullptr) ::_exit(1);
    LongRun run(*driver, "python");
    const pid_t forkserver = driver->forkserver_pid();
    (void)!::write(ends[1], &forkserver, sizeof forkserver);
    ::pause();
  }
  ::close(ends[1]);
  pid_t forkserver = -1;
  ASSERT_EQ(::read(ends[0], &forkserver, sizeof forkserver),
            static_cast<ssize_t>(sizeof forkserver));
  ::close(ends[0]);
  const auto pids = ProcessTree(forkserver);
  const auto cgroups = CgroupsOf(forkserver);
  ASSERT_GT(pids.size(), 6U);
  ASSERT_FALSE(cgroups.empty());

  ASSERT_EQ(::kill(child, SIGKILL), 0);
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);

  EXPECT_TRUE(Eventually([&] { return CountAlive(pids) == 0; })) << CountAlive(pids) << " live on";
  EXPECT_GT(CountDirectories(cgroups), 0U) << "nobody was left to remove them";
  const auto driver = StartOrFail(TestOptions(0));
  ASSERT_NE(driver, nullptr);
  EXPECT_EQ(CountDirectories(cgroups), 0U);
  EXPECT_EQ(RunJob(*driver, Python("print(1)")).stdout_text, "1\n");
}

TEST(ADriver, ThatEndsLeavesNothing) {
  auto driver = StartOrFail(TestOptions(3));
  ASSERT_NE(driver, nullptr);
  const auto own_fds = OpenFds(::getpid());
  EXPECT_EQ(RunJob(*driver, Bash("sleep 1000 &")).reason, Reason::kExited);
  const auto pids = ProcessTree(driver->forkserver_pid());
  const auto cgroups = CgroupsOf(driver->forkserver_pid());
  ASSERT_FALSE(cgroups.empty());
  driver.reset();
  EXPECT_EQ(CountAlive(pids), 0U);
  EXPECT_EQ(CountDirectories(cgroups), 0U);
  EXPECT_LT(OpenFds(::getpid()), own_fds);
}

// A second start once took the first one's cgroups for abandoned and removed them.
TEST(TwoDrivers, DoNotKnowOfEachOther) {
  const auto first = StartOrFail(TestOptions(0));
  ASSERT_NE(first, nullptr);
  for (int i = 0; i < 2; ++i) {
    const auto second = StartOrFail(TestOptions(1));
    ASSERT_NE(second, nullptr);
    EXPECT_EQ(RunJob(*first, Python("print(1)")).stdout_text, "1\n");
    EXPECT_EQ(RunJob(*second, Python("print(2)")).stdout_text, "2\n");
  }
  const Outcome outcome = RunJob(*first, Bash("echo 3"));
  EXPECT_EQ(outcome.stdout_text, "3\n") << Describe(outcome);
  EXPECT_GT(outcome.usage.peak_memory_bytes, 0U) << "its cgroups are gone";
}

TEST(ATemplate, ThatIsKilledFailsItsRunsAndComesBack) {
  const auto driver = StartOrFail(TestOptions(1));
  ASSERT_NE(driver, nullptr);
  LeftoversProbe probe(*driver);
  LongRun python(*driver, "python");
  LongRun bash(*driver, "bash");
  const auto templates = TemplatesOf(driver->forkserver_pid());
  ASSERT_GE(templates.size(), 2U);
  for (const pid_t pid : templates) ASSERT_EQ(::kill(pid, SIGKILL), 0);
  for (LongRun* run : {&python, &bash}) {
    const Outcome outcome = run->End();
    EXPECT_EQ(outcome.reason, Reason::kSandboxFailed) << Describe(outcome);
    EXPECT_EQ(outcome.stdout_text, "up\n");
    EXPECT_NE(outcome.message, "");
  }
  for (const auto& [language, code] :
       {std::pair{"python", "print(1)"}, std::pair{"bash", "echo 1"}}) {
    Outcome outcome;
    EXPECT_TRUE(Eventually([&] {
      outcome = RunJob(*driver, Job(language, code));
      return outcome.reason == Reason::kExited;
    })) << Describe(outcome);
    EXPECT_EQ(outcome.stdout_text, "1\n");
  }
  EXPECT_TRUE(Eventually([&] { return IsReady(*driver, "python") && IsReady(*driver, "bash"); }));
}

TEST(ATemplate, ThatKeepsDyingIsStartedAgainEachTime) {
  const auto driver = StartOrFail(TestOptions(0));
  ASSERT_NE(driver, nullptr);
  // More often than a template may fail to start: one that came up has not failed.
  for (int round = 0; round < 8; ++round) {
    for (const pid_t pid : TemplatesOf(driver->forkserver_pid())) ::kill(pid, SIGKILL);
    Outcome outcome;
    ASSERT_TRUE(Eventually([&] {
      outcome = RunJob(*driver, Python("print(1)"));
      return outcome.stdout_text == "1\n";
    })) << "round "
        << round << ' ' << Describe(outcome);
  }
}

TEST(TheForkserver, ThatIsKilledEndsEverythingAtOnce) {
  auto driver = StartOrFail(TestOptions(2));
  ASSERT_NE(driver, nullptr);
  LongRun python(*driver, "python");
  LongRun bash(*driver, "bash");
  const auto pids = ProcessTree(driver->forkserver_pid());
  ASSERT_EQ(::kill(driver->forkserver_pid(), SIGKILL), 0);
  for (LongRun* run : {&python, &bash}) {
    const Outcome outcome = run->End();
    EXPECT_EQ(outcome.reason, Reason::kSandboxFailed) << Describe(outcome);
  }
  EXPECT_TRUE(Eventually([&] { return CountAlive(pids) == 0; }));
  // Ready forks died as well; nothing hands them out.
  for (int i = 0; i < 4; ++i) {
    for (const char* language : {"python", "bash"}) {
      const auto sandbox = driver->Fork(language, schema::Limits{});
      ASSERT_FALSE(sandbox);
      EXPECT_EQ(sandbox.error().code, ErrorCode::kUnavailable);
    }
  }
  for (const LanguageStatus& status : driver->Languages()) {
    EXPECT_FALSE(status.ready) << status.id;
    EXPECT_FALSE(status.reason.empty()) << status.id;
  }
  driver.reset();
}

TEST(TheDriver, SurvivesALackOfDescriptors) {
  const auto driver = StartOrFail(TestOptions(0));
  ASSERT_NE(driver, nullptr);
  LeftoversProbe probe(*driver);
  rlimit normal{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &normal), 0);
  // A fork takes nine: run out at each of them. The limit is on numbers, so gaps count as well.
  std::size_t refused = 0;
  for (std::size_t more = 0; more <= 10; ++more) {
    rlimit tight{0, normal.rlim_max};
    for (std::size_t free = 0; free <= more; ++tight.rlim_cur) {
      if (::fcntl(static_cast<int>(tight.rlim_cur), F_GETFD) < 0) ++free;
    }
    --tight.rlim_cur;
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &tight), 0);
    auto sandbox = driver->Fork("bash", Bash("").limits);
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &normal), 0);
    if (!sandbox) {
      ++refused;
      EXPECT_EQ(sandbox.error().code, ErrorCode::kUnavailable);
      EXPECT_THAT(sandbox.error().message, HasSubstr("descriptors"));
    }
  }
  EXPECT_GE(refused, 5U);
  EXPECT_EQ(RunJob(*driver, Bash("echo 1")).stdout_text, "1\n");
  EXPECT_EQ(probe.WaitUntilClean(), "");
}

TEST(TheDriver, RefusesMoreSandboxesThanItMayHave) {
  ProcessDriverOptions options = TestOptions(0);
  options.max_sandboxes = 3;
  const auto driver = StartOrFail(std::move(options));
  ASSERT_NE(driver, nullptr);
  std::vector<std::unique_ptr<Sandbox>> held;
  ASSERT_TRUE(Eventually([&] {
    auto sandbox = driver->Fork("bash", schema::Limits{});  // those of Open() may still be buried
    if (sandbox) held.push_back(std::move(*sandbox));
    return held.size() == 3;
  }));
  const auto fourth = driver->Fork("bash", schema::Limits{});
  ASSERT_FALSE(fourth);
  EXPECT_EQ(fourth.error().code, ErrorCode::kUnavailable);
  EXPECT_THAT(fourth.error().message, HasSubstr("too many sandboxes"));
  held.clear();
  EXPECT_TRUE(Eventually([&] { return RunJob(*driver, Bash("echo 1")).stdout_text == "1\n"; }));
}

TEST(TheDriver, SaysWhatIsMissing) {
  ProcessDriverOptions options = TestOptions(0);
  options.forkserver_path = "/nonexistent/forkserver";
  auto started = ProcessDriver::Start(options);
  ASSERT_FALSE(started);
  EXPECT_THAT(started.error().message, HasSubstr("/nonexistent/forkserver"));
  options = TestOptions(0);
  options.runtime_dir = "/nonexistent/runtime";
  started = ProcessDriver::Start(options);
  ASSERT_FALSE(started);
  EXPECT_THAT(started.error().message, HasSubstr("/nonexistent/runtime"));
  options = TestOptions(0);
  options.forkserver_path = "/bin/true";  // starts, but is none
  started = ProcessDriver::Start(options);
  if (started) {
    const auto opened = (*started)->Open(steady_clock::now() + 20s);
    ASSERT_FALSE(opened);
    EXPECT_EQ(opened.error().code, ErrorCode::kUnavailable);
  }
}

// An installation where some languages are broken, each in its own way.
TEST(TheDriver, TellsTheTruthAboutBrokenLanguages) {
  char pattern[] = "/tmp/forkbox-runtime-XXXXXX";
  const fs::path runtime = ::mkdtemp(pattern);
  fs::permissions(runtime, fs::perms(0755));
  fs::copy(FORKBOX_RUNTIME "/exec", runtime / "exec", fs::copy_options::recursive);
  fs::create_directory(runtime / "manifests");
  const auto add = [&](const std::string& id, const std::string& rest) {
    std::ofstream(runtime / "manifests" / (id + ".json"))
        << R"({"id": ")" << id
        << R"(", "name": "X", "version_command": ["/bin/bash", "--version"],)"
        << R"("file_name": "main.sh", "run_command": ["/bin/bash", "{file}"],)"
        << R"("smoke": {"code": "echo 2", "stdout": "2\n"})" << rest << "}";
  };
  add("good", "");
  add("cold", R"(, "template": {"command": ["/nonexistent/template"]})");
  add("silent", R"(, "template": {"command": ["/bin/false"]})");
  add("complaining",
      R"(, "template": {"command": ["/bin/bash", "-c", "echo no libfoo >&2; exit 1"]})");
  add("lying",
      R"(, "template": {"command": ["/bin/bash", "-c", "echo hello >&3; exec sleep 1000"]})");
  std::ofstream(runtime / "manifests" / "absent.json")
      << R"({"id": "absent", "name": "X", "version_command": ["/usr/bin/absent"], "file_name": "f",)"
      << R"("run_command": ["/usr/bin/absent", "{file}"], "smoke": {"code": "", "stdout": "2"}})";
  std::ofstream(runtime / "manifests" / "wrong.json")
      << R"({"id": "wrong", "name": "X", "version_command": ["/bin/false"], "file_name": "f",)"
      << R"("run_command": ["/bin/bash", "{file}"], "smoke": {"code": "echo 3", "stdout": "2\n"}})";
  {
    ProcessDriverOptions options = TestOptions(1);
    options.runtime_dir = runtime;
    const auto driver = StartOrFail(std::move(options));
    ASSERT_NE(driver, nullptr);
    std::map<std::string, LanguageStatus> languages;
    for (const LanguageStatus& status : driver->Languages()) languages[status.id] = status;
    EXPECT_TRUE(languages["good"].ready);
    EXPECT_EQ(languages["good"].reason, "");
    for (const auto& [id, why] :
         {std::pair{"cold", "/nonexistent/template"}, std::pair{"silent", "ended without a word"},
          std::pair{"complaining", "no libfoo"}, std::pair{"lying", ""}}) {
      EXPECT_TRUE(languages[id].ready) << id;
      EXPECT_THAT(languages[id].reason, HasSubstr("served cold")) << id;
      EXPECT_THAT(languages[id].reason, HasSubstr(why)) << id;
      EXPECT_EQ(RunJob(*driver, Job(id, "echo it runs")).stdout_text, "it runs\n") << id;
    }
    EXPECT_FALSE(languages["absent"].ready);
    EXPECT_THAT(languages["absent"].reason, HasSubstr("No such file"));
    EXPECT_EQ(languages["absent"].version, "");
    EXPECT_FALSE(languages["wrong"].ready);
    EXPECT_EQ(languages["wrong"].reason, "smoke program: exited with 0, 3");
    const auto sandbox = driver->Fork("absent", schema::Limits{});
    ASSERT_FALSE(sandbox);
    EXPECT_EQ(sandbox.error().code, ErrorCode::kUnavailable);
  }
  fs::remove_all(runtime);
}

// A mishap while the languages are examined would take one away until the next start. What the
// programs of this language need is there from the moment on that the driver has complained.
TEST(TheDriver, GivesALanguageASecondChance) {
  char pattern[] = "/tmp/forkbox-runtime-XXXXXX";
  const fs::path runtime = ::mkdtemp(pattern);
  fs::permissions(runtime, fs::perms(0755));
  fs::copy(FORKBOX_RUNTIME "/exec", runtime / "exec", fs::copy_options::recursive);
  fs::create_directory(runtime / "manifests");
  std::ofstream(runtime / "manifests" / "late.json")
      << R"({"id": "late", "name": "X", "version_command": ["/bin/bash", "-c",)"
      << R"("for i in {1..30}; do [ -e /opt/forkbox/there ] && exec echo 1.0; sleep 0.1; done;)"
      << R"( echo not there; exit 7"], "file_name": "main.sh",)"
      << R"("run_command": ["/bin/bash", "{file}"], "smoke": {"code": "echo 2", "stdout": "2\n"}})";
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  const UniqueFd said(ends[0]);
  UniqueFd log(ends[1]);
  std::string complaints;
  {
    ProcessDriverOptions options = TestOptions(0);
    options.runtime_dir = runtime;
    options.log = Log(log.get(), LogLevel::kWarn);
    auto driver = ProcessDriver::Start(std::move(options));
    ASSERT_TRUE(driver) << driver.error().message;
    const std::jthread listener([&] {
      std::array<char, 4096> buffer;
      for (ssize_t n = 0; (n = ::read(said.get(), buffer.data(), buffer.size())) > 0;) {
        complaints.append(buffer.data(), static_cast<std::size_t>(n));
        std::ofstream(runtime / "there");
      }
    });
    const auto opened = (*driver)->Open(steady_clock::now() + 60s);
    EXPECT_TRUE(opened) << opened.error().message;
    for (const LanguageStatus& late : (*driver)->Languages()) {
      EXPECT_TRUE(late.ready) << late.reason;
      EXPECT_EQ(late.version, "1.0");
    }
    log.Reset();  // nothing is logged any more
  }
  EXPECT_THAT(complaints, HasSubstr("language.examined_again"));
  EXPECT_THAT(complaints, HasSubstr("version command: exited with 7, not there"));
  fs::remove_all(runtime);
}

}  // namespace
}  // namespace forkbox::sandbox::testing
