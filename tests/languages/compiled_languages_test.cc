// Every language but the warmed ones, as clients meet it: the same small things in each, and what
// is special about being compiled. All toolchains are installed by scripts/setup.sh --languages;
// one that is missing here is a failure.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "runner/sandbox/compiling_driver.h"
#include "tests/sandbox/driver_under_test.h"
#include "tests/sandbox/process_driver_under_test.h"

namespace forkbox::sandbox::testing {
namespace {

using namespace std::chrono_literals;
using schema::Outcome;
using schema::Reason;
using schema::State;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

DriverUnderTest CompilingDriverUnderTest() {
  return {"compiling", []() -> Result<std::unique_ptr<Driver>> {
            auto process = ProcessDriver::Start(TestOptions(2));
            if (!process) return Fail(process.error());
            auto driver =
                std::make_unique<CompilingDriver>(std::move(*process), CompilingDriverOptions{});
            auto opened = driver->Open(std::chrono::steady_clock::now() + 60s);
            if (!opened) return Fail(opened.error());
            return std::unique_ptr<Driver>(std::move(driver));
          }};
}

CompilingDriver& TheDriver() {
  return dynamic_cast<CompilingDriver&>(SharedDriver(CompilingDriverUnderTest()));
}

Outcome RunHere(const Job& job) { return RunJob(TheDriver(), job); }

// With the limits that the language asks for, as dialects give them.
Job Program(const std::string& language, std::string code) {
  Job job(language, std::move(code));
  for (const LanguageStatus& status : TheDriver().Languages()) {
    if (status.id == language) job.limits = status.default_limits;
  }
  job.limits.wall = job.limits.cpu = 60s;
  return job;
}

struct Language {
  const char* id;
  languages::ExecutionModel model;
  const char* version;       // in what its version command says
  const char* echo;          // prints its stdin
  const char* streams;       // "out" to stdout, "err" to stderr, exits with 7
  const char* broken;        // does not compile or parse
  const char* complaint;     // about that, with the place
  const char* fails;         // ends by an error of its own
  int fails_with;            // its exit code
  const char* fails_saying;  // on stderr
};

void PrintTo(const Language& language, std::ostream* out) { *out << language.id; }

constexpr auto kInterpreted = languages::ExecutionModel::kInterpreted;
constexpr auto kCompiled = languages::ExecutionModel::kCompiled;

const Language kLanguages[] = {
    {"go", kCompiled, "go1.21",
     R"(package main

import (
	"io"
	"os"
)

func main() { io.Copy(os.Stdout, os.Stdin) }
)",
     R"(package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Print("out")
	fmt.Fprint(os.Stderr, "err")
	os.Exit(7)
}
)",
     "package main\n\nimport (\n\t\"fmt\"\n\t\"os\"\n)\n\nfunc main() { fmt.Println(1) }\n",
     "# command-line-arguments\n./main.go:5:2: \"os\" imported and not used\n",
     R"(package main

func main() {
	var m map[string]int
	m["a"] = 1
}
)",
     2,
     "panic: assignment to entry in nil map\n\ngoroutine 1 [running]:\nmain.main()\n\t"
     "/box/work/main.go:5"},
    {"c", kCompiled, "gcc",
     R"(#include <stdio.h>
int main(void) { int c; while ((c = getchar()) != EOF) putchar(c); })",
     R"(#include <stdio.h>
int main(void) { printf("out"); fprintf(stderr, "err"); return 7; })",
     "int main(void) { return x; }\n", "main.c:1:25: error: ‘x’ undeclared",
     "#include <stdio.h>\n#include <stdlib.h>\nint main(void) { fputs(\"no\", stderr); exit(3); }",
     3, "no"},
    {"cpp", kCompiled, "g++",
     R"(#include <iostream>
int main() { std::cout << std::cin.rdbuf(); })",
     R"(#include <iostream>
int main() { std::cout << "out"; std::cerr << "err"; return 7; })",
     "#include <string>\nint main() { std::string s = 1.5 + nothing; }\n",
     "main.cpp:2:36: error: ‘nothing’ was not declared",
     "#include <vector>\n#include <cstdlib>\n#include <iostream>\nint main() { try { "
     "std::vector<int>().at(1); } catch (const std::exception& e) { std::cerr << e.what(); return "
     "4; } }",
     4, "vector::_M_range_check"},
    {"java", kCompiled, "openjdk",
     R"(public class Main {
  public static void main(String[] args) throws Exception { System.in.transferTo(System.out); }
})",
     R"(public class Streams {
  public static void main(String[] args) {
    System.out.print("out");
    System.err.print("err");
    System.exit(7);
  }
})",
     "class Main {\n  int x = \"text\";\n}\n",
     "Main.java:2: error: incompatible types: String cannot be converted to int",
     "class Main { public static void main(String[] a) { throw new IllegalStateException(\"no\"); "
     "} }",
     1,
     "Exception in thread \"main\" java.lang.IllegalStateException: no\n\tat "
     "Main.main(Main.java:1)"},
    {"ruby", kInterpreted, "ruby 3", "print STDIN.read", "print 'out'; warn 'err'; exit 7",
     "def f(\n", "main.rb:1: syntax error", "raise 'no'", 1, "no (RuntimeError)"},
    {"php", kInterpreted, "PHP 8", "<?php echo stream_get_contents(STDIN);",
     "<?php echo 'out'; fwrite(STDERR, 'err'); exit(7);", "<?php echo 1 +;\n",
     "Parse error: syntax error, unexpected token \";\" in /box/work/main.php on line 1",
     "<?php throw new RuntimeException('no');", 255, "Uncaught RuntimeException: no"},
    {"perl", kInterpreted, "Perl v5", "print while <STDIN>;",
     "print 'out'; print STDERR 'err'; exit 7;", "my $x = ;\n", "syntax error at main.pl line 1",
     "die 'no'", 255, "no at main.pl line 1"},
    {"lua", kInterpreted, "Lua 5.4", "io.write(io.read('a'))",
     "io.write('out') io.stderr:write('err') os.exit(7)", "x = = 1\n",
     "main.lua:1: unexpected symbol near '='", "error('no')", 1, "main.lua:1: no"},
};

class EveryLanguage : public ::testing::TestWithParam<Language> {};

TEST_P(EveryLanguage, IsThereWithTheVersionInstalled) {
  for (const LanguageStatus& status : TheDriver().Languages()) {
    if (status.id != GetParam().id) continue;
    EXPECT_TRUE(status.ready) << status.reason;
    EXPECT_THAT(status.version, HasSubstr(GetParam().version));
    EXPECT_EQ(status.execution_model, GetParam().model);
    EXPECT_FALSE(status.extensions.empty());
    return;
  }
  FAIL() << "not among the languages";
}

TEST_P(EveryLanguage, GetsItsStdin) {
  Job job = Program(GetParam().id, GetParam().echo);
  job.source.stdin_data = "first\nsecond é\n";
  const Outcome outcome = RunHere(job);
  EXPECT_EQ(outcome.stdout_text, "first\nsecond é\n") << Describe(outcome);
  EXPECT_EQ(outcome.state, State::kCompleted) << Describe(outcome) << outcome.compile_output;
}

TEST_P(EveryLanguage, GivesBothStreamsAndTheExitCode) {
  const Outcome outcome = RunHere(Program(GetParam().id, GetParam().streams));
  EXPECT_EQ(outcome.reason, Reason::kExited) << Describe(outcome) << outcome.compile_output;
  EXPECT_EQ(outcome.exit_code, 7);
  EXPECT_EQ(outcome.stdout_text, "out");
  EXPECT_THAT(outcome.stderr_text, ::testing::AnyOf("err", "err\n"));
}

TEST_P(EveryLanguage, SaysWhereTheSyntaxIsWrong) {
  const Outcome outcome = RunHere(Program(GetParam().id, GetParam().broken));
  EXPECT_EQ(outcome.state, State::kError);
  EXPECT_EQ(outcome.stdout_text, "");
  if (GetParam().model == kCompiled) {
    EXPECT_EQ(outcome.reason, Reason::kCompileFailed) << Describe(outcome);
    EXPECT_EQ(outcome.exit_code, 1);
    EXPECT_THAT(outcome.compile_output, HasSubstr(GetParam().complaint));
    EXPECT_EQ(outcome.stderr_text, "");
    EXPECT_GT(outcome.timings.compile, 0us);
  } else {
    EXPECT_EQ(outcome.reason, Reason::kExited) << Describe(outcome);
    EXPECT_NE(outcome.exit_code, 0);
    EXPECT_THAT(outcome.stderr_text, HasSubstr(GetParam().complaint));
  }
}

TEST_P(EveryLanguage, EndsByItsOwnError) {
  const Outcome outcome = RunHere(Program(GetParam().id, GetParam().fails));
  EXPECT_EQ(outcome.reason, Reason::kExited) << Describe(outcome) << outcome.compile_output;
  EXPECT_EQ(outcome.exit_code, GetParam().fails_with);
  EXPECT_THAT(outcome.stderr_text, HasSubstr(GetParam().fails_saying));
}

TEST_P(EveryLanguage, EmptySourceIsNoFailureOfOurs) {
  const Outcome outcome = RunHere(Program(GetParam().id, ""));
  EXPECT_NE(outcome.reason, Reason::kSandboxFailed) << Describe(outcome);
}

INSTANTIATE_TEST_SUITE_P(Languages, EveryLanguage, ::testing::ValuesIn(kLanguages),
                         [](const auto& test) { return std::string(test.param.id); });

// ------------------------------------------------------------------ being compiled

// A million million classes.
constexpr const char* kTemplateBomb = R"(template <int N, class... T> struct S {
  using A = typename S<N - 1, T..., int>::R;
  using B = typename S<N - 1, T..., char>::R;
  using R = int;
};
template <class... T> struct S<0, T...> { using R = int; };
int main() { return S<40>::R{}; }
)";

constexpr const char* kGoHello =
    "package main\n\nimport \"fmt\"\n\nfunc main() { fmt.Println(\"hello\") }\n";

TEST(CompiledTest, TellsItsPhasesAndTheirTimes) {
  Job job = Program("go", "package main\n\nfunc main() { println(\"phases\") }\n");
  std::vector<std::string> told;
  job.sink = [&](const schema::Event& event) {
    told.push_back(event.kind == schema::EventKind::kState ? event.data : "output");
  };
  const Outcome outcome = RunHere(job);
  EXPECT_EQ(outcome.state, State::kCompleted) << Describe(outcome);
  EXPECT_THAT(told, ElementsAre("compiling", "running", "output"));
  EXPECT_GT(outcome.timings.compile, 0us);
  EXPECT_GE(outcome.timings.total, outcome.timings.compile + outcome.timings.exec);
  EXPECT_EQ(outcome.compile_output, "");
}

TEST(CompiledTest, TheSameSourceIsCompiledOnce) {
  Job job = Program("go", kGoHello + std::string("// once\n"));
  const ArtefactCacheStats before = TheDriver().CacheStats();
  for (int i = 0; i < 3; ++i) {
    // Input, arguments and environment are the run's: they make no other program.
    job.source.stdin_data = std::to_string(i);
    job.source.args = {std::to_string(i)};
    EXPECT_EQ(RunHere(job).stdout_text, "hello\n");
  }
  const ArtefactCacheStats after = TheDriver().CacheStats();
  EXPECT_EQ(after.misses - before.misses, 1U);
  EXPECT_EQ(after.hits - before.hits, 2U);

  job.source.files.push_back({"data.txt", "another file, another key", false});
  EXPECT_EQ(RunHere(job).stdout_text, "hello\n");
  EXPECT_EQ(TheDriver().CacheStats().misses - after.misses, 1U);
}

TEST(CompiledTest, AskedForAtOnceItIsCompiledOnce) {
  const Job job = Program("go", kGoHello + std::string("// at once\n"));
  const ArtefactCacheStats before = TheDriver().CacheStats();
  std::vector<std::jthread> clients;
  std::mutex mutex;
  int good = 0;
  for (int i = 0; i < 4; ++i) {
    clients.emplace_back([&] {
      const Outcome outcome = RunHere(job);
      const std::lock_guard lock(mutex);
      if (outcome.stdout_text == "hello\n") ++good;
    });
  }
  clients.clear();
  EXPECT_EQ(good, 4);
  EXPECT_EQ(TheDriver().CacheStats().misses - before.misses, 1U);
}

TEST(CompiledTest, AnErrorIsRememberedToo) {
  const Job job = Program("c", "int main(void) { return remembered; }");
  const std::string first = RunHere(job).compile_output;
  const ArtefactCacheStats before = TheDriver().CacheStats();
  EXPECT_EQ(RunHere(job).compile_output, first);
  EXPECT_THAT(first, HasSubstr("remembered"));
  EXPECT_EQ(TheDriver().CacheStats().misses, before.misses);
}

TEST(CompiledTest, WarningsOfASuccessAreTold) {
  const Outcome outcome = RunHere(Program("c", "int main(void) { char* p = 1; return p == 0; }"));
  EXPECT_EQ(outcome.state, State::kCompleted) << Describe(outcome);
  EXPECT_THAT(outcome.compile_output, HasSubstr("warning: initialization of ‘char *’"));
}

TEST(CompiledTest, ItsFilesAreThereWhenItRunsAndItsSourceIsNot) {
  Job job = Program("c", R"(#include <stdio.h>
#include <unistd.h>
#include "words.h"
int word(void);
int main(void) {
  char text[16] = {0};
  FILE* file = fopen("data/in.txt", "r");
  fgets(text, sizeof text, file);
  printf("%s %s %d %d\n", text, WORD, word(), access("main.c", R_OK));
})");
  job.source.files = {{"data/in.txt", "read", false},
                      {"words.h", "#define WORD \"included\"\n", false},
                      {"more.c", "int word(void) { return 42; }\n", false}};
  const Outcome outcome = RunHere(job);
  EXPECT_EQ(outcome.stdout_text, "read included 42 -1\n")
      << Describe(outcome) << outcome.compile_output;
}

TEST(CompiledTest, TheCompilerSeesNothingOfTheRun) {
  Job job = Program("c",
                    "#include <stdio.h>\n#include <stdlib.h>\n"
                    "int main(int n, char** v) { printf(\"%s %s\", getenv(\"CPATH\"), v[1]); }");
  job.source.env = {{"CPATH", "/nowhere"}, {"GCC_EXEC_PREFIX", "/nowhere/"}};
  job.source.args = {"argument"};
  const Outcome outcome = RunHere(job);
  EXPECT_EQ(outcome.stdout_text, "/nowhere argument")
      << Describe(outcome) << outcome.compile_output;
}

TEST(CompiledTest, ACancelledCompileEndsSoonAndIsNotRemembered) {
  const Job job = Program("cpp", kTemplateBomb);
  auto sandbox = TheDriver().ForkFor(job.language, job.limits, job.source.code);
  ASSERT_TRUE(sandbox) << sandbox.error().message;
  std::jthread cancels;
  const auto start = std::chrono::steady_clock::now();
  const Outcome outcome = (*sandbox)->Run(job.source, [&](const schema::Event& event) {
    ASSERT_EQ(event.data, "compiling");
    cancels = std::jthread([&] {
      std::this_thread::sleep_for(300ms);
      (*sandbox)->Cancel();
    });
  });
  EXPECT_EQ(outcome.reason, Reason::kCancelled) << Describe(outcome) << outcome.compile_output;
  EXPECT_EQ(outcome.state, State::kCancelled);
  EXPECT_LT(std::chrono::steady_clock::now() - start, 20s);
}

TEST(CompiledTest, ACancelledRunEnds) {
  const Job job = Program("go", "package main\n\nfunc main() { println(\"x\"); for { } }\n");
  auto sandbox = TheDriver().ForkFor(job.language, job.limits, job.source.code);
  ASSERT_TRUE(sandbox) << sandbox.error().message;
  const Outcome outcome = (*sandbox)->Run(job.source, [&](const schema::Event& event) {
    if (event.kind == schema::EventKind::kStderr) (*sandbox)->Cancel();
  });
  EXPECT_EQ(outcome.reason, Reason::kCancelled) << Describe(outcome);
}

TEST(CompiledTest, CancelledBeforeItBeganItNeverRuns) {
  const Job job = Program("go", kGoHello);
  auto sandbox = TheDriver().ForkFor(job.language, job.limits, job.source.code);
  ASSERT_TRUE(sandbox) << sandbox.error().message;
  (*sandbox)->Cancel();
  const Outcome outcome = (*sandbox)->Run(job.source, {});
  EXPECT_EQ(outcome.reason, Reason::kCancelled) << Describe(outcome);
  EXPECT_EQ(outcome.stdout_text, "");
}

TEST(CompiledTest, TheLimitsOfTheRunAreNotTheCompilers) {
  Job job = Program("go", "package main\n\nfunc main() { for { } }\n");
  job.limits.wall = 300ms;
  job.limits.memory_bytes = 32ULL << 20;  // no compiler lives in that
  const Outcome outcome = RunHere(job);
  EXPECT_EQ(outcome.reason, Reason::kWallTimeout) << Describe(outcome) << outcome.compile_output;
}

TEST(CompiledTest, FunctionsAreRefused) {
  const auto sandbox = TheDriver().ForkFor("go", {}, "", schema::EntryKind::kFunction);
  ASSERT_FALSE(sandbox);
  EXPECT_EQ(sandbox.error().code, ErrorCode::kInvalidArgument);
}

// ------------------------------------------------------------------ hostile sources

TEST(HostileSourceTest, AnEndlessIncludeMeetsALimitOfTheCompiler) {
  for (const char* code : {"#include \"/dev/zero\"\nint main(void) {}\n",
                           "#include __FILE__\n#include __FILE__\nint main(void) {}\n"}) {
    const Outcome outcome = RunHere(Program("c", code));
    EXPECT_EQ(outcome.reason, Reason::kCompileFailed) << Describe(outcome);
    EXPECT_NE(outcome.compile_output, "");
  }
}

TEST(HostileSourceTest, ATemplateBombMeetsALimitOfTheCompiler) {
  const Outcome outcome = RunHere(Program("cpp", kTemplateBomb));
  EXPECT_EQ(outcome.reason, Reason::kCompileFailed) << Describe(outcome);
  EXPECT_THAT(outcome.compile_output, HasSubstr("the compiler "));
}

TEST(HostileSourceTest, AHugeProgramIsNoProgram) {
  const Outcome outcome =
      RunHere(Program("c", "char huge[70 << 20] = {1};\nint main(void) { return huge[5]; }\n"));
  EXPECT_EQ(outcome.reason, Reason::kCompileFailed) << Describe(outcome);
  EXPECT_THAT(outcome.compile_output, HasSubstr("the program is too large"));
}

TEST(HostileSourceTest, WhatItIncludesIsOfTheSandbox) {
  const Outcome outcome = RunHere(Program("c", "#include \"/etc/shadow\"\nint main(void) {}\n"));
  EXPECT_EQ(outcome.reason, Reason::kCompileFailed);
  EXPECT_THAT(outcome.compile_output, HasSubstr("No such file or directory"));
}

// ------------------------------------------------------------------ go's packages

struct GoCase {
  const char* name;
  const char* code;
  std::vector<schema::SourceFile> files;
  const char* out;        // of the program
  const char* complaint;  // of the compiler; "" where it runs
};
void PrintTo(const GoCase& test, std::ostream* out) { *out << test.name; }

class GoPackages : public ::testing::TestWithParam<GoCase> {};

TEST_P(GoPackages, AreBuilt) {
  Job job = Program("go", GetParam().code);
  job.source.files = GetParam().files;
  const Outcome outcome = RunHere(job);
  EXPECT_EQ(outcome.stdout_text, GetParam().out) << Describe(outcome) << outcome.compile_output;
  if (GetParam().complaint[0] == '\0') {
    EXPECT_EQ(outcome.compile_output, "");
  } else {
    EXPECT_EQ(outcome.reason, Reason::kCompileFailed) << Describe(outcome);
    EXPECT_THAT(outcome.compile_output, HasSubstr(GetParam().complaint));
  }
}

const GoCase kGoCases[] = {
    {"two_files",
     "package main\n\nfunc main() { say(2) }\n",
     {{"say.go", "package main\n\nimport \"fmt\"\n\nfunc say(n int) { fmt.Println(n) }\n", false}},
     "2\n",
     ""},
    {"test_files_and_other_systems_are_left_out",
     "package main\n\nfunc main() { print() }\n",
     {{"a_test.go", "package main\n\nbroken\n", false},
      {"a_windows.go", "package main\n\nbroken\n", false}},
     "",
     ""},
    {"a_folder_is_a_package",
     "package main\n\nimport (\n\t\"fmt\"\n\t\"main/sub\"\n\tdeep \"main/sub/deep\"\n)\n\n"
     "func main() { fmt.Println(sub.Two(), deep.Three) }\n",
     {{"sub/sub.go",
       "package sub\n\nimport \"main/sub/deep\"\n\nfunc Two() int { return deep.Three - 1 }\n",
       false},
      {"sub/deep/deep.go", "package deep\n\nconst Three = 3\n", false}},
     "2 3\n",
     ""},
    {"a_module_has_its_name",
     "package main\n\nimport (\n\t\"example.com/app/sub\"\n\t\"fmt\"\n)\n\n"
     "func main() { fmt.Println(sub.X) }\n",
     {{"go.mod", "module example.com/app // here\n\ngo 1.20\n", false},
      {"sub/x.go", "package sub\n\nvar X = \"x\"\n", false}},
     "x\n",
     ""},
    {"embedded_files",
     "package main\n\nimport (\n\t\"embed\"\n\t\"fmt\"\n)\n\n//go:embed data\nvar data embed.FS\n\n"
     "//go:embed data/a.txt\nvar a string\n\n"
     "func main() { b, _ := data.ReadFile(\"data/b.txt\"); fmt.Println(a, string(b)) }\n",
     {{"data/a.txt", "A", false}, {"data/b.txt", "B", false}},
     "A B\n",
     ""},
    {"generics_and_the_library",
     "package main\n\nimport (\n\t\"encoding/json\"\n\t\"fmt\"\n\t\"slices\"\n\t\"net/http\"\n)\n\n"
     "func Max[T int | float64](a, b T) T { if a > b { return a }; return b }\n\n"
     "func main() {\n\tb, _ := json.Marshal(map[string]int{\"a\": Max(1, 2)})\n"
     "\tx := []int{3, 1}\n\tslices.Sort(x)\n\tfmt.Println(string(b), x, min(1, 2), "
     "http.StatusOK)\n}\n",
     {},
     "{\"a\":2} [1 3] 1 200\n",
     ""},
    {"an_error_in_a_folder",
     "package main\n\nimport \"main/sub\"\n\nfunc main() { sub.F() }\n",
     {{"sub/sub.go", "package sub\n\nfunc F() { return 1 }\n", false}},
     "",
     "# main/sub\nsub/sub.go:3:19: too many return values"},
    {"a_missing_module",
     "package main\n\nimport \"github.com/some/thing\"\n\nfunc main() { thing.Do() }\n",
     {},
     "",
     "main.go:3:8: no required module provides package github.com/some/thing"},
    {"not_in_the_library",
     "package main\n\nimport \"fmtt\"\n\nfunc main() { fmtt.Do() }\n",
     {},
     "",
     "main.go:3:8: package fmtt is not in std"},
    {"no_such_folder",
     "package main\n\nimport \"main/gone\"\n\nfunc main() { gone.Do() }\n",
     {},
     "",
     "main.go:3:8: package main/gone: there is no folder gone among the files"},
    {"out_of_the_folder",
     "package main\n\nimport \"main/../../etc\"\n\nfunc main() { etc.Do() }\n",
     {},
     "",
     "main.go:3:8: "},
    {"internals",
     "package main\n\nimport \"internal/abi\"\n\nfunc main() { _ = abi.X }\n",
     {},
     "",
     "main.go:3:8: use of internal package internal/abi not allowed"},
    {"cgo",
     "package main\n\nimport \"C\"\n\nfunc main() { }\n",
     {},
     "",
     "main.go: cgo is not available here"},
    {"a_cycle",
     "package main\n\nimport \"main/a\"\n\nfunc main() { a.F() }\n",
     {{"a/a.go", "package a\n\nimport \"main/b\"\n\nfunc F() { b.F() }\n", false},
      {"b/b.go", "package b\n\nimport \"main/a\"\n\nfunc F() { a.F() }\n", false}},
     "",
     "import cycle not allowed"},
    {"not_main", "package other\n", {}, "", "package command-line-arguments is not a main package"},
    {"two_packages_in_one_folder",
     "package main\n\nfunc main() { }\n",
     {{"x.go", "package x\n", false}},
     "",
     "found packages main (main.go) and x (x.go)"},
    {"no_main_function",
     "package main\n",
     {},
     "",
     "# command-line-arguments\nruntime.main_main·f: function main is undeclared in the main "
     "package"},
    {"a_newer_go",
     "package main\n\nfunc main() { }\n",
     {{"go.mod", "module m\n\ngo 1.99\n", false}},
     "",
     "go.mod requires go >= 1.99 (running go1.21"},
    {"not_go_at_all", "hello\n", {}, "", "main.go:1:1: expected 'package', found hello"},
};
INSTANTIATE_TEST_SUITE_P(Go, GoPackages, ::testing::ValuesIn(kGoCases),
                         [](const auto& test) { return std::string(test.param.name); });

// ------------------------------------------------------------------ java

TEST(JavaTest, ItsHeapFollowsTheMemoryLimit) {
  Job job = Program("java", R"(class Main {
  public static void main(String[] args) {
    System.out.println(Runtime.getRuntime().maxMemory() >> 20);
  }
})");
  const int usual = std::stoi(RunHere(job).stdout_text);
  job.limits.memory_bytes *= 2;
  const int twice = std::stoi(RunHere(job).stdout_text);
  EXPECT_GT(usual, 128);
  EXPECT_LT(usual, 256);
  EXPECT_GT(twice, usual + usual / 2);
}

TEST(JavaTest, AHeapThatIsFullIsAnErrorOfTheProgram) {
  const Outcome outcome = RunHere(Program("java", R"(import java.util.*;
class Main {
  public static void main(String[] args) {
    List<byte[]> all = new ArrayList<>();
    for (;;) all.add(new byte[1 << 20]);
  }
})"));
  EXPECT_EQ(outcome.reason, Reason::kExited) << Describe(outcome);
  EXPECT_THAT(outcome.stderr_text, HasSubstr("java.lang.OutOfMemoryError: Java heap space"));
}

TEST(JavaTest, ThreadsAndClassesInOtherFilesWork) {
  Job job = Program("java", R"(import java.util.concurrent.*;
public class Anything {
  public static void main(String[] args) throws Exception {
    ExecutorService pool = Executors.newFixedThreadPool(8);
    System.out.println(pool.submit(() -> new Other().word() + args[0]).get());
    pool.shutdown();
    System.out.println(new java.security.SecureRandom().nextInt() != 0);
  }
})");
  job.source.files = {
      {"Other.java", "class Other { String word() { return \"other \"; } }\n", false}};
  job.source.args = {"argument"};
  const Outcome outcome = RunHere(job);
  EXPECT_EQ(outcome.stdout_text, "other argument\ntrue\n")
      << Describe(outcome) << outcome.compile_output;
}

}  // namespace
}  // namespace forkbox::sandbox::testing
