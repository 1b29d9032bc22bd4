// Bash as people know it from `bash main.sh`.
#include <gmock/gmock.h>

#include "tests/sandbox/sandbox_contract.h"

namespace forkbox::sandbox::testing {
namespace {

using schema::Outcome;
using schema::Reason;

TEST_P(BashSemantics, AreThoseOfTheStockShell) {
  if (!IsReady(driver(), "bash")) GTEST_SKIP() << "this driver has no bash";
  struct Case {
    const char* name;
    const char* code;
    int exit_code;
    const char* out;
    const char* err;
  };
  const Case cases[] = {
      {"pipes", "printf 'b\\na\\n' | sort | tr a-z A-Z", 0, "A\nB\n", ""},
      {"endless_writer", "yes | head -2", 0, "y\ny\n", ""},
      {"pipefail", "set -o pipefail; false | true", 1, "", ""},
      {"errexit", "set -e\necho 1\nfalse\necho 2", 1, "1\n", ""},
      {"not_found", "no-such-command", 127, "",
       "main.sh: line 1: no-such-command: command not found\n"},
      {"not_executable", "touch f; ./f", 126, "", "main.sh: line 1: ./f: Permission denied\n"},
      {"syntax", "if", 2, "", "main.sh: line 2: syntax error: unexpected end of file\n"},
      {"status_of_a_signal", "bash -c 'kill -9 $$'; echo $?", 0, "137\n",
       "main.sh: line 1:     * Killed                  bash -c 'kill -9 $$'\n"},
      {"here_document", "cat <<X\n$((6*7))\nX", 0, "42\n", ""},
      {"here_string", "read a b <<< 'x y'; echo $b", 0, "y\n", ""},
      {"process_substitution", "diff <(echo a) <(echo a) && echo same", 0, "same\n", ""},
      {"redirect_to_device", "echo o > /dev/stdout; echo e > /dev/stderr", 0, "o\n", "e\n"},
      {"background", "(sleep 0.05; echo late) & wait; echo end", 0, "late\nend\n", ""},
      {"trap_exit", "trap 'echo bye' EXIT; exit 3", 3, "bye\n", ""},
      {"trap_term", "trap 'echo caught; exit 4' TERM; kill $$; sleep 100", 4, "caught\n", ""},
      {"arrays", "a=(1 2 3); declare -A m=([k]=v); echo ${#a[@]} ${m[k]}", 0, "3 v\n", ""},
      {"functions", "f() { local x=$1; return $x; }; f 7; echo $?", 0, "7\n", ""},
      {"zero", "echo $0 $# $PWD", 0, "main.sh 0 /box/work\n", ""},
      {"files", "mkdir d && cd d && echo x > f && cat f && pwd", 0, "x\n/box/work/d\n", ""},
      {"who", "id -un; id -gn; whoami; hostname; echo ~", 0,
       "sandbox\nsandbox\nsandbox\nforkbox\n/box/work\n", ""},
      {"python", "python3 -c 'print(1+1)'", 0, "2\n", ""},
      {"no_job_output", "set -m; sleep 0.01 & wait", 0, "", ""},
      {"null_and_zero", "echo x > /dev/null; head -c 2 /dev/zero | od -An -tx1", 0, " 00 00\n", ""},
      {"coprocess", "coproc cat; echo hi >&${COPROC[1]}; read x <&${COPROC[0]}; echo $x", 0, "hi\n",
       ""},
      {"timeout", "timeout 0.05 sleep 100; echo $?", 0, "124\n", ""},
  };
  for (const Case& test : cases) {
    SCOPED_TRACE(test.name);
    const Outcome outcome = Run(Bash(test.code));
    EXPECT_EQ(outcome.reason, Reason::kExited) << Describe(outcome);
    EXPECT_EQ(outcome.exit_code, test.exit_code);
    EXPECT_EQ(outcome.stdout_text, test.out);
    // "*" stands for what differs from run to run: the pid in a shell's message.
    const std::string expected = test.err;
    const auto star = expected.find('*');
    if (star == std::string::npos) {
      EXPECT_EQ(outcome.stderr_text, expected);
    } else {
      EXPECT_THAT(outcome.stderr_text, ::testing::StartsWith(expected.substr(0, star - 4)));
      EXPECT_THAT(outcome.stderr_text, ::testing::EndsWith(expected.substr(star + 1)));
    }
  }
}

}  // namespace
}  // namespace forkbox::sandbox::testing
