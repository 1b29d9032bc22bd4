// Compilers that do what no compiler should: here the "compiler" is a shell that runs the source,
// so each source is free to leave anything where its program ought to be.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "runner/sandbox/compiling_driver.h"
#include "tests/sandbox/driver_under_test.h"
#include "tests/sandbox/process_driver_under_test.h"

namespace forkbox::sandbox::testing {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using schema::Outcome;
using schema::Reason;
using schema::State;
using ::testing::HasSubstr;

constexpr const char* kGoodProgram =
    "printf '#!/bin/bash\\necho 2\\n' >/tmp/main; chmod +x /tmp/main";

// A runtime folder with the exec template and one language.
class Folder {
 public:
  Folder() {
    std::string path = (fs::temp_directory_path() / "forkbox-compilers-XXXXXX").string();
    if (::mkdtemp(path.data()) == nullptr) std::abort();
    path_ = path;
    fs::permissions(path_, fs::perms(0755));
    fs::create_directories(path_ / "manifests");
    fs::copy(fs::path(FORKBOX_RUNTIME) / "exec", path_ / "exec");
    const nlohmann::json manifest = {
        {"id", "shell"},
        {"name", "A shell for a compiler"},
        {"version_command", {"/bin/bash", "--version"}},
        {"file_name", "main.sh"},
        {"extensions", {".sh"}},
        {"compile",
         {{"command", {"/bin/bash", "{file}"}},
          {"artefacts", {"/tmp/main", "/tmp/more/"}},
          {"limits", {{"wall_s", 3}, {"memory_mb", 64}, {"pids", 32}, {"disk_mb", 160}}}}},
        {"run_command", {"/tmp/main"}},
        {"smoke", {{"code", std::string(kGoodProgram) + "; mkdir /tmp/more"}, {"stdout", "2\n"}}}};
    std::ofstream(path_ / "manifests" / "shell.json") << manifest.dump();
  }
  ~Folder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  [[nodiscard]] std::string path() const { return path_.string(); }

 private:
  fs::path path_;
};

CompilingDriver& TheDriver() {
  const DriverUnderTest under_test{"shell", []() -> Result<std::unique_ptr<Driver>> {
                                     static const Folder folder;
                                     ProcessDriverOptions options = TestOptions(1);
                                     options.runtime_dir = folder.path();
                                     auto process = ProcessDriver::Start(std::move(options));
                                     if (!process) return Fail(process.error());
                                     auto driver = std::make_unique<CompilingDriver>(
                                         std::move(*process), CompilingDriverOptions{});
                                     auto opened =
                                         driver->Open(std::chrono::steady_clock::now() + 60s);
                                     if (!opened) return Fail(opened.error());
                                     return std::unique_ptr<Driver>(std::move(driver));
                                   }};
  return dynamic_cast<CompilingDriver&>(SharedDriver(under_test));
}

Outcome RunHere(const std::string& code) { return RunJob(TheDriver(), Job("shell", code)); }

struct Case {
  const char* name;
  const char* compiler;
  const char* told;  // in compile_output
};
void PrintTo(const Case& test, std::ostream* out) { *out << test.name; }

class BadCompiler : public ::testing::TestWithParam<Case> {};

TEST_P(BadCompiler, IsTheSourcesOwnFailure) {
  const Outcome outcome = RunHere(GetParam().compiler);
  EXPECT_EQ(outcome.reason, Reason::kCompileFailed) << Describe(outcome);
  EXPECT_EQ(outcome.state, State::kError);
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_THAT(outcome.compile_output, HasSubstr(GetParam().told));
  EXPECT_EQ(outcome.compile_output.find("root:"), std::string::npos);
  EXPECT_LE(outcome.compile_output.size(), 600U << 10);
  EXPECT_EQ(outcome.stdout_text + outcome.stderr_text, "");
}

const Case kCases[] = {
    {"link_to_a_file", "ln -s /etc/passwd /tmp/main; mkdir /tmp/more",
     "the compiler left no program: /tmp/main: Too many levels of symbolic links"},
    {"link_to_a_folder", "echo >/tmp/main; ln -s /etc /tmp/more", "/tmp/more/: "},
    {"link_in_the_folder", "echo >/tmp/main; mkdir /tmp/more; ln -s /etc/passwd /tmp/more/a",
     "/tmp/more/a: Too many levels of symbolic links"},
    {"link_on_the_way", "echo >/tmp/main; mkdir /tmp/more; ln -s /etc /tmp/more/a",
     "/tmp/more/a: Too many levels of symbolic links"},
    {"pipe", "mkfifo /tmp/main; mkdir /tmp/more", "/tmp/main: is not a file"},
    {"folder_for_a_file", "mkdir /tmp/main /tmp/more", "/tmp/main: is not a file"},
    {"file_for_a_folder", "echo >/tmp/main; echo >/tmp/more", "/tmp/more/: Not a directory"},
    {"nothing", "true", "/tmp/main: No such file or directory"},
    {"unreadable", "echo >/tmp/main; chmod 0 /tmp/main", "/tmp/main: Permission denied"},
    {"huge", "truncate -s 70M /tmp/main; mkdir /tmp/more", "the program is too large"},
    {"huge_together", "truncate -s 40M /tmp/main; mkdir /tmp/more; truncate -s 40M /tmp/more/a",
     "the program is too large"},
    {"many_files", "echo >/tmp/main; mkdir /tmp/more; cd /tmp/more; touch {1..5000}",
     "too many files"},
    {"deep_folders", "echo >/tmp/main; p=/tmp/more; for i in {1..40}; do p=$p/a; done; mkdir -p $p",
     "too many folders in each other"},
    {"flood_and_failure", "head -c 20M /dev/zero | tr '\\0' x >&2; exit 1",
     "(more of the compiler's output is left out)"},
    {"endless_flood", "yes", "the compiler was stopped after 3 s"},
    {"hang", "sleep 100", "the compiler was stopped after 3 s"},
    {"hang_of_a_grandchild", "(trap '' TERM; sleep 100) & wait",
     "the compiler was stopped after 3 s"},
    {"too_much_memory", "a=$(head -c 200M /dev/zero | tr '\\0' x)",
     "the compiler ran out of memory (its limit is 64 MiB)"},
    {"fork_bomb", "f() { f | f & }; f; sleep 100", ""},
    {"kills_who_waits_for_it", "kill -9 $PPID; sleep 100", "the compiler was killed by a signal"},
    {"kills_itself", "kill -9 $$", "the compiler was killed by signal 9"},
    {"kills_everybody", "kill -9 -1", "the compiler was killed by"},
    {"answers_itself", "echo -n a >&3; exit 1", "3: Bad file descriptor"},
    {"silent_failure", "exit 3", "the compiler failed with exit code 3"},
    {"bad_bytes", "printf 'a\\xff\\n' >&2; exit 1", "a\xef\xbf\xbd\n"},
};
INSTANTIATE_TEST_SUITE_P(Compilers, BadCompiler, ::testing::ValuesIn(kCases),
                         [](const auto& test) { return std::string(test.param.name); });

TEST(CompileFaultsTest, WhatIsInTheFoldersComesAlong) {
  const Outcome outcome = RunHere(
      "printf '#!/bin/bash\\ncat /tmp/more/x/y\\n' >/tmp/main; chmod 711 /tmp/main; chmod +r "
      "/tmp/main; mkdir -p /tmp/more/x; echo data >/tmp/more/x/y; sleep 100 & echo said");
  EXPECT_EQ(outcome.stdout_text, "data\n") << Describe(outcome) << outcome.compile_output;
  EXPECT_EQ(outcome.compile_output, "said\n");
}

TEST(CompileFaultsTest, AProgramThatCannotRunIsTheProgramsFailure) {
  const Outcome outcome = RunHere("mkdir /tmp/more; echo rubbish >/tmp/main; chmod +x /tmp/main");
  EXPECT_EQ(outcome.reason, Reason::kExited) << Describe(outcome);
  EXPECT_EQ(outcome.exit_code, 126);
  EXPECT_THAT(outcome.stderr_text, HasSubstr("Exec format error"));
}

TEST(CompileFaultsTest, ALimitIsNotRemembered) {
  const std::string code = "sleep 50 # a limit";
  const std::uint64_t before = TheDriver().CacheStats().misses;
  EXPECT_EQ(RunHere(code).reason, Reason::kCompileFailed);
  EXPECT_EQ(RunHere(code).reason, Reason::kCompileFailed);
  EXPECT_EQ(TheDriver().CacheStats().misses - before, 2U);
}

// What ended from outside, or may have, is no word on the source; an error in it is.
TEST(CompileFaultsTest, OnlyErrorsInTheSourceAreRemembered) {
  struct Ending {
    const char* code;
    std::uint64_t compiles;  // of two tries
  };
  const Ending kEndings[] = {
      {"echo main.c:1: error; exit 1", 1},
      {"echo main.go:1: undefined >&2; exit 2", 1},
      {"exit 1", 2},
      {"echo internal error; exit 4", 2},
      {"echo the compiler could not be started; exit 70", 2},
      {"echo not found; exit 127", 2},
      {"echo fatal error: Killed signal terminated program cc1; exit 1", 2},
      {"echo fork: Cannot allocate memory; exit 2", 2},
      {"kill -9 $$", 2},
      {"kill -9 $PPID; sleep 100", 2},
  };
  for (const Ending& ending : kEndings) {
    const std::string code = std::string(ending.code) + " # remembered";
    const std::uint64_t before = TheDriver().CacheStats().misses;
    EXPECT_EQ(RunHere(code).reason, Reason::kCompileFailed) << code;
    EXPECT_EQ(RunHere(code).reason, Reason::kCompileFailed) << code;
    EXPECT_EQ(TheDriver().CacheStats().misses - before, ending.compiles) << code;
  }
}

TEST(CompileFaultsTest, AJobThatIsTooLargeSaysSo) {
  Job job("shell", kGoodProgram);
  job.source.files = {{"a", std::string(97U << 20, 'x'), false}};
  const Outcome outcome = RunJob(TheDriver(), job);
  EXPECT_EQ(outcome.reason, Reason::kSandboxFailed) << Describe(outcome);
  EXPECT_THAT(outcome.message, HasSubstr("too large for a sandbox"));
}

TEST(CompileFaultsTest, WhoWaitsForACancelledCompileGetsOneOfItsOwn) {
  const Job job("shell", "mkdir /tmp/more; sleep 1; " + std::string(kGoodProgram));
  auto first = TheDriver().ForkFor(job.language, job.limits, job.source.code);
  auto second = TheDriver().ForkFor(job.language, job.limits, job.source.code);
  ASSERT_TRUE(first && second);
  const std::uint64_t before = TheDriver().CacheStats().misses;
  Outcome cancelled;
  std::jthread runs([&] { cancelled = (*first)->Run(job.source, {}); });
  while (TheDriver().CacheStats().misses == before) std::this_thread::sleep_for(1ms);
  std::jthread cancels([&] {
    std::this_thread::sleep_for(200ms);
    (*first)->Cancel();
  });
  const Outcome outcome = (*second)->Run(job.source, {});
  runs.join();
  EXPECT_EQ(cancelled.reason, Reason::kCancelled) << Describe(cancelled);
  EXPECT_EQ(outcome.stdout_text, "2\n") << Describe(outcome) << outcome.compile_output;
}

TEST(CompileFaultsTest, WhoWaitsCanBeCancelledToo) {
  const Job job("shell", "mkdir /tmp/more; sleep 2; " + std::string(kGoodProgram) + " # waits");
  auto first = TheDriver().ForkFor(job.language, job.limits, job.source.code);
  auto second = TheDriver().ForkFor(job.language, job.limits, job.source.code);
  ASSERT_TRUE(first && second);
  const std::uint64_t before = TheDriver().CacheStats().misses;
  Outcome good;
  std::jthread runs([&] { good = (*first)->Run(job.source, {}); });
  while (TheDriver().CacheStats().misses == before) std::this_thread::sleep_for(1ms);
  std::jthread cancels([&] {
    std::this_thread::sleep_for(100ms);
    (*second)->Cancel();
  });
  const Outcome outcome = (*second)->Run(job.source, {});
  EXPECT_EQ(outcome.reason, Reason::kCancelled) << Describe(outcome);
  runs.join();
  EXPECT_EQ(good.stdout_text, "2\n") << Describe(good) << good.compile_output;
}

// The languages of an installation that lacks everything that can be lacking.
TEST(MissingToolchainTest, TheLanguageSaysWhatToInstall) {
  const Folder folder;
  nlohmann::json manifest;
  std::ifstream(folder.path() + "/manifests/shell.json") >> manifest;
  manifest["id"] = "missing";
  manifest["requires"] = {{{"path", "/nonexistent/compiler"}, {"package", "gobbledygook-17"}}};
  std::ofstream(folder.path() + "/manifests/missing.json") << manifest.dump();
  manifest["id"] = "unmade";
  manifest["requires"] = {{{"path", "unmade/thing"}}};
  std::ofstream(folder.path() + "/manifests/unmade.json") << manifest.dump();
  manifest["id"] = "broken";
  manifest.erase("requires");
  manifest["smoke"]["code"] = "echo it is broken; exit 1";
  std::ofstream(folder.path() + "/manifests/broken.json") << manifest.dump();

  ProcessDriverOptions options = TestOptions(0);
  options.runtime_dir = folder.path();
  auto process = ProcessDriver::Start(std::move(options));
  ASSERT_TRUE(process) << process.error().message;
  CompilingDriver driver(std::move(*process), {});
  const auto opened = driver.Open(std::chrono::steady_clock::now() + 60s);
  ASSERT_TRUE(opened) << opened.error().message;
  std::map<std::string, std::string> reasons;
  for (const LanguageStatus& status : driver.Languages()) {
    reasons[status.id] = status.ready ? "ready" : status.reason;
    EXPECT_EQ(status.ready, bool(driver.ForkFor(status.id, {}, ""))) << status.id;
  }
  EXPECT_EQ(reasons["shell"], "ready");
  EXPECT_EQ(reasons["missing"], "not installed: apt-get install gobbledygook-17");
  EXPECT_THAT(reasons["unmade"], HasSubstr("unmade/thing is missing"));
  EXPECT_THAT(reasons["broken"], HasSubstr("smoke program: compile_failed, it is broken"));
}

}  // namespace
}  // namespace forkbox::sandbox::testing
