// A driver that is copied with its forks and then runs one program (ProcessDriverOptions): nothing
// is forked beside the program, what it draws is its own, and its end is told before its process
// has come down. Here many programs run, as while such a driver warms up.
#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <optional>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "tests/sandbox/process_driver_under_test.h"

namespace forkbox::sandbox::testing {
namespace {

using std::chrono::seconds;
using std::chrono::steady_clock;

class RunsOnce : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    ProcessDriverOptions options = TestOptions(2);
    options.runs_once = true;
    options.max_sandboxes = 32;
    auto driver = StartProcessDriver(std::move(options));
    ASSERT_TRUE(driver) << driver.error().message;
    driver_ = driver->release();
  }
  static void TearDownTestSuite() {
    delete driver_;
    driver_ = nullptr;
  }
  void SetUp() override { ASSERT_NE(driver_, nullptr); }

  static schema::Limits LimitsOf(const std::string& language) {
    for (const LanguageStatus& status : driver_->Languages()) {
      if (status.id == language) return status.default_limits;
    }
    ADD_FAILURE() << "there is no " << language;
    return {};
  }

  static schema::Outcome Run(const std::string& language, const std::string& code,
                             schema::EntryKind entry = schema::EntryKind::kScript) {
    schema::Outcome failed;
    auto sandbox = driver_->ForkFor(language, LimitsOf(language), code, entry);
    EXPECT_TRUE(sandbox) << sandbox.error().message;
    if (!sandbox) return failed;
    schema::Source source;
    source.code = code;
    source.entry = entry;
    return (*sandbox)->Run(source, {});
  }

  static ProcessDriver* driver_;
};

ProcessDriver* RunsOnce::driver_ = nullptr;

TEST_F(RunsOnce, PoolsAreFilledWhenAskedAndNeverElse) {
  const auto deadline = steady_clock::now() + seconds(60);
  ASSERT_TRUE(driver_->FillPools(deadline));
  const auto full = driver_->Stats();
  EXPECT_GT(full.pool_ready, 0U);
  EXPECT_EQ(Run("python", "print(1 + 1)").stdout_text, "2\n");
  // Long enough for a driver that fills its pools by itself.
  std::this_thread::sleep_for(std::chrono::milliseconds(500));
  const auto after = driver_->Stats();
  EXPECT_EQ(after.pool_ready, full.pool_ready - 1);
  EXPECT_EQ(after.pool_hits, full.pool_hits + 1);
  ASSERT_TRUE(driver_->FillPools(deadline));
  EXPECT_EQ(driver_->Stats().pool_ready, full.pool_ready);
}

struct EndCase {
  const char* name;
  const char* language;
  const char* code;
  std::optional<int> exit_code;
  const char* stdout_text;
  std::optional<int> signal = {};
};

class RunsOnceEnd : public RunsOnce, public ::testing::WithParamInterface<EndCase> {};

TEST_P(RunsOnceEnd, IsToldAsItIs) {
  const auto start = steady_clock::now();
  const schema::Outcome outcome = Run(GetParam().language, GetParam().code);
  EXPECT_EQ(outcome.exit_code, GetParam().exit_code) << outcome.message << outcome.stderr_text;
  EXPECT_EQ(outcome.signal, GetParam().signal);
  EXPECT_EQ(outcome.stdout_text, GetParam().stdout_text);
  EXPECT_LT(steady_clock::now() - start, seconds(20)) << "a minute is what some would take";
}

INSTANTIATE_TEST_SUITE_P(
    Programs, RunsOnceEnd,
    ::testing::Values(
        EndCase{"python_by_itself", "python", "print('a')", 0, "a\n"},
        EndCase{"python_exit_code", "python", "import sys\nprint('a')\nsys.exit(3)", 3, "a\n"},
        EndCase{"python_exception", "python", "print('a')\n1/0", 1, "a\n"},
        EndCase{"python_leaves_at_once", "python", "import os\nprint('a')\nos._exit(4)", 4, "a\n"},
        EndCase{"python_last_words", "python",
                "import atexit, sys\natexit.register(lambda: print('b'))\n"
                "sys.stdout.write('a')\nsys.exit(5)",
                5, "ab\n"},
        EndCase{"python_killed", "python", "import os\nprint('a')\nos.kill(os.getpid(), 9)",
                std::nullopt, "a\n", 9},
        // A copy of the process that comes to the end does not end the run.
        EndCase{"python_forks", "python",
                "import os, sys\npid = os.fork()\nif pid == 0:\n    print('child')\n"
                "else:\n    os.waitpid(pid, 0)\n    print('parent')\n    sys.exit(6)",
                6, "child\nparent\n"},
        // What it leaves behind is not waited for.
        EndCase{"python_leaves_a_child", "python",
                "import subprocess\nsubprocess.Popen(['sleep', '60'])\nprint('a')", 0, "a\n"},
        // Descriptors are numbered as ever, and whatever becomes of ours, the end is told.
        EndCase{"python_descriptors", "python", "import os\nprint(os.open('/dev/null', 0))", 0,
                "3\n"},
        EndCase{"python_closes_all", "python",
                "import os\nos.closerange(3, 200)\nprint('a')\nexit(7)", 7, "a\n"},
        EndCase{
            "python_puts_another_there", "python",
            "import os\nr, w = os.pipe()\nos.dup2(w, 63)\nprint('a')\nos.set_blocking(r, False)\n"
            "import atexit\nexit(8)",
            8, "a\n"},
        // It may lie about its own end; then that is its end.
        EndCase{"python_lies", "python",
                "import os, time\nprint('a')\nos.write(63, b'x\\x09')\ntime.sleep(60)", 9, "a\n"},
        EndCase{"node_by_itself", "javascript", "console.log('a'); process.exitCode = 2;", 2,
                "a\n"},
        EndCase{"node_exits", "javascript",
                "process.on('exit', () => console.log('b')); console.log('a'); process.exit(3);", 3,
                "a\nb\n"},
        EndCase{"node_throws", "javascript", "console.log('a'); throw new Error('x');", 1, "a\n"},
        EndCase{"node_later", "javascript", "setTimeout(() => console.log('a'), 5);", 0, "a\n"},
        EndCase{"bash", "bash", "echo a; exit 4", 4, "a\n"},
        EndCase{"bash_killed", "bash", "echo a; kill -9 $$", std::nullopt, "a\n", 9}),
    [](const auto& test) { return std::string(test.param.name); });

TEST_F(RunsOnce, AFunctionAnswers) {
  const schema::Outcome outcome =
      Run("python", "return sorted([2, 1])", schema::EntryKind::kFunction);
  EXPECT_EQ(outcome.exit_code, 0) << outcome.message;
  ASSERT_TRUE(outcome.value_json);
  EXPECT_EQ(*outcome.value_json, "[1, 2]");
}

struct DrawCase {
  const char* name;
  const char* language;
  const char* code;
};

class RunsOnceDraws : public RunsOnce, public ::testing::WithParamInterface<DrawCase> {};

TEST_P(RunsOnceDraws, AreItsOwn) {
  std::set<std::string> lines;
  std::size_t drawn = 0;
  for (int round = 0; round < 6; ++round) {
    const schema::Outcome outcome = Run(GetParam().language, GetParam().code);
    EXPECT_EQ(outcome.exit_code, 0) << outcome.stderr_text << outcome.message;
    std::istringstream text(outcome.stdout_text);
    for (std::string line; std::getline(text, line); ++drawn) lines.insert(line);
  }
  EXPECT_GE(drawn, 6U);
  EXPECT_EQ(lines.size(), drawn) << "the same number was drawn twice";
}

INSTANTIATE_TEST_SUITE_P(
    Generators, RunsOnceDraws,
    ::testing::Values(
        DrawCase{"python", "python",
                 "import random, uuid, os, secrets, multiprocessing\n"
                 "print(random.random())\nprint(random.Random().random())\nprint(uuid.uuid4())\n"
                 "print(os.urandom(8))\nprint(secrets.token_hex(8))\n"
                 "print(multiprocessing.current_process().authkey)"},
        DrawCase{
            "numpy", "python",
            "import numpy\nprint(numpy.random.rand())\nprint(numpy.random.default_rng().random())"},
        DrawCase{
            "node", "javascript",
            "const c = require('crypto'); console.log(Math.random()); console.log(c.randomUUID());"
            "console.log(c.randomBytes(8).toString('hex')); console.log(c.randomInt(2 ** 47));"}),
    [](const auto& test) { return std::string(test.param.name); });

}  // namespace
}  // namespace forkbox::sandbox::testing
