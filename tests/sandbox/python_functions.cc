// Function entries: the code is the body of a function, and what it returns is the outcome's value.
#include <gmock/gmock.h>

#include <string>
#include <utility>
#include <vector>

#include "tests/sandbox/sandbox_contract.h"

namespace forkbox::sandbox::testing {
namespace {

using schema::Outcome;
using schema::Reason;
using schema::State;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

Job Function(std::string code, std::string language = "python") {
  Job job(std::move(language), std::move(code));
  job.source.entry = schema::EntryKind::kFunction;
  return job;
}

struct Case {
  const char* code;
  std::string value;
};

TEST_P(PythonFunctions, ReturnValuesOfEveryKind) {
  const Case cases[] = {
      {"return None", "null"},
      {"return True", "true"},
      {"return -7", "-7"},
      {"return 2**100", "1267650600228229401496703205376"},
      {"return 0.1", "0.1"},
      {"return 1e300", "1e+300"},
      {"return ''", "\"\""},
      {"return 'é\\n\"\\\\\\0 \\U0001f40d'", "\"é\\n\\\"\\\\\\u0000 \U0001f40d\""},
      {"return [1, 'a', None, [2.5]]", "[1, \"a\", null, [2.5]]"},
      {"return (1, (2,))", "[1, [2]]"},
      {"return {'a': {'b': []}}", "{\"a\": {\"b\": []}}"},
      {"return {1: 'i', True: 't', None: 'n', 1.5: 'f'}",
       "{\"1\": \"t\", \"null\": \"n\", \"1.5\": \"f\"}"},
      {"import enum\nclass C(enum.IntEnum):\n    A = 3\nreturn [C.A]", "[3]"},
  };
  for (const Case& test : cases) {
    const Outcome outcome = Run(Function(test.code));
    EXPECT_EQ(outcome.value_json, test.value) << test.code << '\n' << Describe(outcome);
    EXPECT_EQ(outcome.state, State::kCompleted);
    EXPECT_EQ(outcome.exit_code, 0);
    EXPECT_EQ(outcome.stdout_text + outcome.stderr_text + outcome.message, "") << test.code;
  }
}

// Nothing but `return` gives a value: no variable, no last expression.
TEST_P(PythonFunctions, WithoutAReturnTheValueIsNull) {
  for (const char* code : {"", "\n\n", "# a comment", "  # one more\n", "'only a docstring'",
                           "\"\"\"a docstring\n  of two lines\"\"\"", "pass", "result = 5", "1 + 1",
                           "if True:\n    return", "def f():\n    return 3"}) {
    const Outcome outcome = Run(Function(code));
    EXPECT_EQ(outcome.value_json, "null") << code << '\n' << Describe(outcome);
    EXPECT_EQ(outcome.exit_code, 0);
    EXPECT_EQ(outcome.stdout_text + outcome.stderr_text, "") << code;
  }
}

TEST_P(PythonFunctions, FindWhatTheyMayCountOn) {
  const Case cases[] = {
      {"return [sys.argv[0], json.dumps([1]), StringIO('x').read(), contextlib.__name__]",
       "[\"/box/work/main.py\", \"[1]\", \"x\", \"contextlib\"]"},
      {"return __name__", "\"__main__\""},
      {"import __main__\nreturn __main__.__dict__ is globals()", "true"},
      {"return sorted(locals())", "[]"},
      {"x = 1\ndef f():\n    nonlocal x\n    x += 1\nf()\nreturn x", "2"},
      {"global g\ng = 4\nreturn globals()['g']", "4"},
      {"class A:\n    x = 1\n    def f(self): return self.x\nreturn A().f()", "1"},
      {"return [i * j for i in range(2) for j in range(2)]", "[0, 0, 0, 1]"},
      {"import os\nreturn os.getcwd()", "\"/box/work\""},
      // The text is as it was given, whatever it is indented by.
      {"s = '''a\n  b\n\tc\n'''\nreturn s", "\"a\\n  b\\n\\tc\\n\""},
      {"if True:\n    s = \"\"\"x\ny\"\"\"\nreturn s", "\"x\\ny\""},
      {"return 'a\\\nb'", "\"ab\""},
      {"    x = 1\n    s = '''\n'''\n    return [x, s]", "[1, \"\\n\"]"},
      {"名前 = 'ü'\nreturn 名前", "\"ü\""},
      {"\xEF\xBB\xBFreturn 1", "1"},
      {"return 1\r\n", "1"},
      {"# -*- coding: utf-8 -*-\nreturn 'é'", "\"é\""},
  };
  for (const Case& test : cases) {
    const Outcome outcome = Run(Function(test.code));
    EXPECT_EQ(outcome.value_json, test.value) << test.code << '\n' << Describe(outcome);
  }
}

TEST_P(PythonFunctions, PrintLikeAnyProgramWhoeverPrints) {
  const Outcome outcome =
      Run(Function("import os, subprocess, threading\n"
                   "print('print')\nos.write(1, b'raw\\n')\nos.system('echo child; echo err >&2')\n"
                   "subprocess.run(['echo', 'grandchild'])\n"
                   "t = threading.Thread(target=print, args=('thread',)); t.start(); t.join()\n"
                   "return 'value'"));
  EXPECT_EQ(outcome.stdout_text, "print\nraw\nchild\ngrandchild\nthread\n") << Describe(outcome);
  EXPECT_EQ(outcome.stderr_text, "err\n");
  EXPECT_EQ(outcome.value_json, "\"value\"");
  EXPECT_EQ(outcome.exit_code, 0);
}

TEST_P(PythonFunctions, TheValueIsAnEvent) {
  std::vector<std::string> values;
  Job job = Function("print('x')\nreturn [1]");
  job.sink = [&](const schema::Event& event) {
    if (event.kind == schema::EventKind::kValue) values.push_back(event.data);
  };
  Run(job);
  EXPECT_THAT(values, ElementsAre("[1]"));
}

// ------------------------------------------------------------------ failures

TEST_P(PythonFunctions, AnExceptionIsALineAndATracebackOfTheirOwnFrames) {
  const Outcome outcome = Run(Function("def f(x):\n    return 1 / x\n\nprint('out')\nreturn f(0)"));
  EXPECT_EQ(outcome.reason, Reason::kExited);
  EXPECT_EQ(outcome.state, State::kError);
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_EQ(outcome.value_json, std::nullopt);
  EXPECT_EQ(outcome.stdout_text, "out\n");
  EXPECT_EQ(outcome.stderr_text,
            "Error: division by zero\n"
            "Traceback (most recent call last):\n"
            "  File \"/box/work/main.py\", line 5, in main\n"
            "    return f(0)\n"
            "           ^^^^\n"
            "  File \"/box/work/main.py\", line 2, in f\n"
            "    return 1 / x\n"
            "           ~~^~~\n"
            "ZeroDivisionError: division by zero\n");
}

TEST_P(PythonFunctions, EveryExceptionFails) {
  const Case cases[] = {
      {"raise KeyboardInterrupt", "Error: \nTraceback"},
      {"raise GeneratorExit('g')", "Error: g\nTraceback"},
      {"raise ValueError", "Error: \nTraceback"},
      {"input()", "Error: EOF when reading a line\nTraceback"},
      {"raise Exception('é\\nzwei \\udc80')", "Error: é\nzwei \\udc80\nTraceback"},
      {"class E(Exception):\n    def __str__(self): raise OSError\nraise E", "Error: E\nTraceback"},
      {"def f(): return f()\nf()", "Error: maximum recursion depth exceeded\nTraceback"},
      {"import sys\nsys.stderr.write('before\\n')\n1 / 0", "before\nError: division by zero\nT"},
      {"'''a\nb\n'''\nundefined",
       "Error: name 'undefined' is not defined\nTraceback (most recent "
       "call last):\n  File \"/box/work/main.py\", line 4, in main"},
      {"   x = '''\n'''\n   x.y",
       "Error: 'str' object has no attribute 'y'\nTraceback (most recent "
       "call last):\n  File \"/box/work/main.py\", line 3, in main"},
  };
  for (const Case& test : cases) {
    const Outcome outcome = Run(Function(test.code));
    EXPECT_EQ(outcome.exit_code, 1) << test.code << '\n' << Describe(outcome);
    EXPECT_THAT(outcome.stderr_text, StartsWith(test.value)) << test.code;
    EXPECT_THAT(outcome.stderr_text, Not(HasSubstr("template"))) << test.code;
    EXPECT_EQ(outcome.value_json, std::nullopt);
  }
}

TEST_P(PythonFunctions, ExitCodesAreHonoured) {
  const struct {
    const char* code;
    int exit_code;
    const char* err;
    bool value;
  } cases[] = {{"sys.exit(3)", 3, "", false},
               {"raise SystemExit", 0, "", true},
               {"sys.exit(0)", 0, "", true},
               {"sys.exit('why')", 1, "why\n", false},
               {"import os\nos._exit(5)", 5, "", false}};
  for (const auto& test : cases) {
    const Outcome outcome = Run(Function(test.code));
    EXPECT_EQ(outcome.reason, Reason::kExited) << Describe(outcome);
    EXPECT_EQ(outcome.exit_code, test.exit_code) << test.code;
    EXPECT_EQ(outcome.stderr_text, test.err) << test.code;
    EXPECT_EQ(outcome.value_json.value_or("none"), test.value ? "null" : "none") << test.code;
  }
}

TEST_P(PythonFunctions, WhatDoesNotCompileNeverRan) {
  const Case cases[] = {
      {"print('ran')\nx = (",
       "  File \"/box/work/main.py\", line 2\n    x = (\n        ^\n"
       "SyntaxError: '(' was never closed\n"},
      {"return 1\n  return 2",
       "  File \"/box/work/main.py\", line 2\n    return 2\n"
       "IndentationError: unexpected indent\n"},
      {"  x = 1\ny = 2",
       "  File \"/box/work/main.py\", line 1\n    x = 1\n"
       "IndentationError: unexpected indent\n"},
      {"  x = 1\nelse:\n  y = 2", "  File \"/box/work/main.py\", line 1\n"},
      {"from math import *", "  File \"/box/work/main.py\", line 1\n"},
      {"import asyncio\nawait asyncio.sleep(0)", "  File \"/box/work/main.py\", line 2\n"},
      {"x = 1\nnonlocal y", "  File \"/box/work/main.py\", line 2\n"},
      {"break", "  File \"/box/work/main.py\", line 1\n"},
  };
  for (const Case& test : cases) {
    const Outcome outcome = Run(Function(test.code));
    EXPECT_EQ(outcome.reason, Reason::kCompileFailed) << test.code << '\n' << Describe(outcome);
    EXPECT_EQ(outcome.state, State::kError);
    EXPECT_EQ(outcome.exit_code, 1);
    EXPECT_THAT(outcome.compile_output, StartsWith(test.value)) << test.code;
    EXPECT_THAT(outcome.compile_output, Not(HasSubstr("template"))) << test.code;
    EXPECT_EQ(outcome.stdout_text + outcome.stderr_text, "") << test.code;
  }
  for (const std::string& code :
       {std::string("return '\0'", 10), std::string("\xff\xfe"), std::string(100'000, '('),
        "return " + std::string(5'000, '-') + "1", std::string("\0", 1)}) {
    const Outcome outcome = Run(Function(code));
    EXPECT_EQ(outcome.reason, Reason::kCompileFailed) << Describe(outcome);
    EXPECT_THAT(outcome.compile_output, Not(HasSubstr("template")));
  }
}

TEST_P(PythonFunctions, AValueThatJsonCannotHoldIsAFailure) {
  const Case cases[] = {
      {"return object()", "Object of type object is not"},
      {"return b'x'", "Object of type bytes is not"},
      {"return {1, 2}", "Object of type set is not"},
      {"return [len]", "Object of type builtin_function_or_method is not"},
      {"return {(1, 2): 3}", "keys must be str, int, float, bool or None, not tuple"},
      {"return float('nan')", "Out of range float values are not JSON compliant"},
      {"return [float('-inf')]", "Out of range float values are not JSON compliant"},
      {"return {float('nan'): 1}", "Out of range float values are not JSON compliant"},
      {"x = []\nx.append(x)\nreturn x", "Circular reference"},
      {"x = []\nfor i in range(100000): x = [x]\nreturn x", "maximum recursion depth exceeded"},
      {"return '\\ud800'", "'utf-8' codec can't encode"},
      {"return 10 ** 5000", "Exceeds the limit"},
      {"return 'x' * (1 << 20)", "larger than 1048576 bytes"},
      {"class D(dict):\n    def items(self): raise SystemExit(0)\nreturn D(a=1)", ""},
      {"class D(dict):\n    def items(self): 1 / 0\nreturn D(a=1)", "division by zero"},
      {"yield 1", "Object of type generator is not"},
  };
  for (const Case& test : cases) {
    const Outcome outcome = Run(Function(test.code));
    EXPECT_EQ(outcome.reason, Reason::kExited) << test.code << '\n' << Describe(outcome);
    EXPECT_EQ(outcome.exit_code, 1) << test.code;
    EXPECT_EQ(outcome.value_json, std::nullopt) << test.code;
    EXPECT_THAT(
        outcome.stderr_text,
        StartsWith("Error: the returned value cannot be represented as JSON: " + test.value))
        << test.code;
    EXPECT_THAT(outcome.stderr_text, Not(HasSubstr("Traceback"))) << test.code;
  }
}

TEST_P(PythonFunctions, ALargeValueArrivesWhole) {
  const Outcome outcome = Run(Function("return 'é' * ((1 << 19) - 1)"));
  ASSERT_TRUE(outcome.value_json) << Describe(outcome);
  EXPECT_EQ(outcome.value_json->size(), 1U << 20);
}

// ------------------------------------------------------------------ hostile answers

// The channel is the one socket that a function finds open.
constexpr const char* kFindChannel =
    "import os, socket, stat\n"
    "channel = next(fd for fd in map(int, os.listdir('/proc/self/fd'))\n"
    "               if fd > 2 and stat.S_ISSOCK(os.fstat(fd).st_mode))\n";

TEST_P(PythonFunctions, ForgedAnswersAreAtMostTheirOwnValue) {
  const struct {
    std::string code;
    std::optional<std::string> value;
    const char* message;
  } cases[] = {
      {"os.write(channel, b'rubbish')\nreturn 1", std::nullopt, "not in its form"},
      {"os.write(channel, b'v1')\nreturn 1", std::nullopt, "not JSON"},
      {"os.write(channel, b'\\0' * 100000)\nreturn 1", std::nullopt, "not in its form"},
      {"os.write(channel, b'vNaN')\nos._exit(0)", std::nullopt, "not JSON"},
      {"os.write(channel, b'v[1')\nos._exit(0)", std::nullopt, "not JSON"},
      {"os.write(channel, b'c')\nos._exit(0)", std::nullopt, "not in its form"},
      {"os.write(channel, b'v\"own\"')\nos._exit(0)", "\"own\"", ""},
      {"os.close(channel)\nreturn 1", std::nullopt, "without a value"},
      {"os.dup2(1, channel)\nreturn 1", std::nullopt, "without a value"},
      {"socket.socket(fileno=os.dup(channel)).shutdown(socket.SHUT_RDWR)\nreturn 1", std::nullopt,
       "without a value"},
      {"os._exit(0)", std::nullopt, "without a value"},
      // More than is kept is read all the same, or the program would wait for its reader.
      {"for _ in range(64): os.write(channel, b'v' * (1 << 20))\nreturn 1", std::nullopt,
       "too large"},
      {"os.write(channel, b'v' + b'[' * 1000000)\nos._exit(0)", std::nullopt, "nested deeper"},
      // Descriptors that travel along are dropped where they arrive.
      {"import array\nsocket.socket(fileno=os.dup(channel)).sendmsg([b'v2'], "
       "[(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', [0, 1]))])\nos._exit(0)",
       "2", ""},
  };
  for (const auto& test : cases) {
    const Outcome outcome = Run(Function(kFindChannel + test.code));
    EXPECT_EQ(outcome.reason, Reason::kExited) << test.code << '\n' << Describe(outcome);
    EXPECT_EQ(outcome.exit_code, 0) << test.code << '\n' << Describe(outcome);
    EXPECT_EQ(outcome.value_json, test.value) << test.code;
    EXPECT_THAT(outcome.message, HasSubstr(test.message)) << test.code;
  }
}

TEST_P(PythonFunctions, AFloodOnTheChannelMeetsTheLimits) {
  Job job = Function(std::string(kFindChannel) + "while True: os.write(channel, b'v' * 65536)");
  job.limits.cpu = std::chrono::milliseconds(100);
  const Outcome outcome = Run(job);
  EXPECT_EQ(outcome.reason, Reason::kCpuTimeout) << Describe(outcome);
  EXPECT_EQ(outcome.value_json, std::nullopt);
}

// ------------------------------------------------------------------ processes and threads

TEST_P(PythonFunctions, AForkThatReturnsTooDoesNotAnswer) {
  const Outcome waited =
      Run(Function("import os\npid = os.fork()\nif pid: os.waitpid(pid, 0)\n"
                   "print('parent' if pid else 'child', flush=True)\nreturn 'p' if pid else 'c'"));
  EXPECT_EQ(waited.value_json, "\"p\"") << Describe(waited);
  EXPECT_EQ(waited.stdout_text, "child\nparent\n");
  EXPECT_EQ(waited.exit_code, 0);
  const Outcome left =
      Run(Function("import os, time\nif os.fork() == 0:\n    time.sleep(0.05)\n    return 'c'\n"
                   "return 'p'"));
  EXPECT_EQ(left.value_json, "\"p\"") << Describe(left);
}

TEST_P(PythonFunctions, AChildThatKeepsTheChannelHoldsNothingUp) {
  const Outcome outcome =
      Run(Function("import os, time\nif os.fork() == 0:\n    for fd in (0, 1, 2): os.close(fd)\n"
                   "    time.sleep(1000)\nreturn 1"));
  EXPECT_EQ(outcome.reason, Reason::kExited) << Describe(outcome);
  EXPECT_EQ(outcome.value_json, "1");
}

TEST_P(PythonFunctions, CommandsDoNotInheritTheChannel) {
  const Outcome outcome =
      Run(Function("import subprocess\nreturn subprocess.run(['ls', '/proc/self/fd'], "
                   "capture_output=True, text=True, close_fds=False).stdout.split()"));
  EXPECT_EQ(outcome.value_json, "[\"0\", \"1\", \"2\", \"3\"]")
      << Describe(outcome);  // 3: ls's own
}

TEST_P(PythonFunctions, ThreadsEndBeforeTheProgram) {
  const Outcome outcome = Run(
      Function("import threading, time\nx = []\ndef work():\n    time.sleep(0.1)\n    x.append(1)\n"
               "    print('end')\nthreading.Thread(target=work).start()\nreturn x"));
  EXPECT_EQ(outcome.value_json, "[]") << Describe(outcome);  // as it was when it was returned
  EXPECT_EQ(outcome.stdout_text, "end\n");
  EXPECT_EQ(outcome.exit_code, 0);
}

TEST_P(PythonFunctions, AValueCountsOnlyIfTheProgramEnds) {
  Job job = Function(
      "import threading, time\nthreading.Thread(target=time.sleep, args=(1000,)).start()\n"
      "return 1");
  job.limits.wall = std::chrono::milliseconds(1500);
  const Outcome outcome = Run(job);
  EXPECT_EQ(outcome.reason, Reason::kWallTimeout) << Describe(outcome);
  EXPECT_EQ(outcome.value_json, std::nullopt);
}

TEST_P(PythonFunctions, LimitsAreThoseOfPrograms) {
  Job sleep = Function("import time\nprint('in')\ntime.sleep(1000)");
  sleep.limits.wall = std::chrono::milliseconds(1500);
  EXPECT_EQ(Run(sleep).reason, Reason::kWallTimeout);
  Job memory = Function("return len(bytearray(300_000_000))");
  memory.limits.memory_bytes = 64ULL << 20;
  EXPECT_EQ(Run(memory).reason, Reason::kOutOfMemory);
  EXPECT_EQ(Run(Function("import os\nos.kill(os.getpid(), 11)")).reason, Reason::kSignalled);
}

// ------------------------------------------------------------------ who has no functions

TEST_P(PythonFunctions, OtherLanguagesRefuseThem) {
  for (const char* language : {"bash", "javascript"}) {
    if (!IsReady(driver(), language)) continue;
    auto refused = driver().ForkFor(language, {}, "", schema::EntryKind::kFunction);
    ASSERT_FALSE(refused) << language;
    EXPECT_EQ(refused.error().code, ErrorCode::kInvalidArgument);
    EXPECT_THAT(refused.error().message, HasSubstr("no function entry"));
    // And who forks without saying what will run learns it then.
    auto sandbox = driver().Fork(language, {});
    ASSERT_TRUE(sandbox) << sandbox.error().message;
    const Outcome outcome = (*sandbox)->Run(Function("echo ran").source, {});
    EXPECT_EQ(outcome.reason, Reason::kSandboxFailed) << Describe(outcome);
    EXPECT_EQ(outcome.stdout_text, "");
    EXPECT_THAT(outcome.message, HasSubstr("no function entry"));
  }
  auto cell = driver().ForkFor("python", {}, "", schema::EntryKind::kCell);
  ASSERT_FALSE(cell);
  EXPECT_EQ(cell.error().code, ErrorCode::kInvalidArgument);
}

}  // namespace
}  // namespace forkbox::sandbox::testing
