// Contexts of the languages, as execd has them: started, told, interrupted, deleted.
#include <gtest/gtest.h>

#include <chrono>
#include <cstdio>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "runner/sandbox/transpiler.h"
#include "tests/execd/contexts_under_test.h"

namespace forkbox::execd::testing {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

struct Language {
  std::string name;
  std::vector<std::pair<std::string, std::vector<std::string>>> cells;  // what each tells
  std::string busy;  // prints "busy" and does not end
  std::string after;
  std::vector<std::string> told_after;
};
void PrintTo(const Language& language, std::ostream* out) { *out << language.name; }

class LanguageContexts : public ContextsTest, public ::testing::WithParamInterface<Language> {
 protected:
  static void SetUpTestSuite() {
    ContextsTest::SetUpTestSuite();
    transpiler_ =
        std::make_unique<sandbox::Transpiler>(*driver_, sandbox::TranspilerOptions{.processes = 1});
    ASSERT_TRUE(transpiler_->TranspileCell("1"));
  }
  static void TearDownTestSuite() { transpiler_.reset(); }

  void SetUp() override {
    ContextsTest::SetUp();
    Contexts::Options options = Options();
    options.languages = {"javascript", "typescript", "java", "go"};
    options.transpile = [](const std::string& code) { return transpiler_->TranspileCell(code); };
    Open({}, std::move(options));
  }

  static inline std::unique_ptr<sandbox::Transpiler> transpiler_;
};

TEST_P(LanguageContexts, KeepTheirStateFromCellToCell) {
  const auto start = steady_clock::now();
  const std::string id = NewContext(GetParam().name);
  std::printf("%s: a context after %lld ms\n", GetParam().name.c_str(),
              static_cast<long long>((steady_clock::now() - start) / milliseconds(1)));
  for (const auto& [code, told] : GetParam().cells) {
    SCOPED_TRACE(code);
    EXPECT_EQ(Run(id, code).Cell(), told);
  }
  EXPECT_FALSE(contexts_->Get(id)->forks);
}

TEST_P(LanguageContexts, AreInterruptedAndGoOn) {
  const std::string id = NewContext(GetParam().name);
  for (const auto& [code, told] : GetParam().cells) (void)Run(id, code);
  {
    const auto running = Begin(id, GetParam().busy);
    ASSERT_TRUE(running->told.WaitForOutput("busy"));
    ASSERT_TRUE(contexts_->Interrupt(id));
    running->thread.join();
    EXPECT_EQ(running->told.Error().ename, "KeyboardInterrupt");
    EXPECT_EQ(running->told.Story().back(), "complete");
  }
  std::vector<std::string> cell = Run(id, GetParam().after).Cell();
  if (!cell.empty() && cell.front().starts_with("count")) cell.erase(cell.begin());
  EXPECT_EQ(cell, GetParam().told_after);
}

TEST_P(LanguageContexts, AreDeletedWhileTheyAreBusy) {
  const std::string id = NewContext(GetParam().name);
  const auto running = Begin(id, GetParam().busy);
  ASSERT_TRUE(running->told.WaitForOutput("busy"));
  ASSERT_TRUE(contexts_->Delete(id));
  running->thread.join();
  EXPECT_EQ(running->told.Error().ename, "ContextDied");
  EXPECT_FALSE(contexts_->Get(id));
}

INSTANTIATE_TEST_SUITE_P(
    All, LanguageContexts,
    ::testing::Values(
        Language{"javascript",
                 {{"let x = 40", {}},
                  {"console.log('hi'); x + 2", {"out hi\n", "count 2", "result {\"text\":\"42\"}"}},
                  {"process.env.GREETING", {"count 3", "result {\"text\":\"'hello'\"}"}},
                  {"throw new TypeError('bad')", {"status error", "error TypeError: bad"}}},
                 "console.log('busy'); for (;;);",
                 "x + 2",
                 {"result {\"text\":\"42\"}"}},
        Language{"typescript",
                 {{"enum E { A = 40 }\nconst x: number = E.A", {}},
                  {"interface P { a: number }\nconst p: P = { a: x }; p.a + 2",
                   {"count 2", "result {\"text\":\"42\"}"}},
                  {"const x: number = 40; throw new TypeError('bad' as string)",
                   {"status error", "error TypeError: bad"}}},
                 "console.log('busy'); for (;;);",
                 "x + 2 as number",
                 {"result {\"text\":\"42\"}"}},
        Language{"java",
                 {{"int x = 40;", {}},
                  {"System.out.println(\"hi\");\nx + 2",
                   {"out hi\n", "count 2", "result {\"text\":\"42\"}"}},
                  {"throw new IllegalStateException(\"bad\");",
                   {"status error", "error EvalException: bad"}}},
                 "System.out.println(\"busy\");\nwhile (true) {}",
                 "x + 2",
                 {"result {\"text\":\"42\"}"}},
        Language{
            "go",
            {{"var x = 40", {}},
             {"fmt.Println(\"hi\")\nx + 2", {"out hi\n", "count 2", "result {\"text\":\"42\"}"}},
             {"os.Exit(3)", {"status error", "error ExitError: exit status 3"}}},
            "fmt.Println(\"busy\")\nfor {\n}",
            "x + 2",
            {"result {\"text\":\"42\"}"}}),
    [](const auto& each) { return each.param.name; });

}  // namespace
}  // namespace forkbox::execd::testing
