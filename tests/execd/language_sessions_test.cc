// Interactive sessions of the languages: cells one after the other, and what is said of each.
#include <gtest/gtest.h>

#include <chrono>
#include <map>
#include <memory>
#include <ostream>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/log.h"
#include "runner/sandbox/process_driver.h"
#include "runner/sandbox/transpiler.h"
#include "tests/execd/session_under_test.h"
#include "tests/sandbox/process_driver_under_test.h"

namespace forkbox::execd::testing {
namespace {

using sandbox::ProcessDriver;

ProcessDriver& SharedDriver() {
  static const auto driver = [] {
    auto started = sandbox::testing::StartProcessDriver(sandbox::testing::TestOptions(0));
    if (!started) {
      ADD_FAILURE() << started.error().message;
      std::abort();
    }
    return std::move(*started);
  }();
  return *driver;
}

bool Ready(const std::string& language) {
  return sandbox::testing::IsReady(SharedDriver(), language);
}

// A cell and what is expected of it. Texts of "…" members are to be found in what came; "" and
// absent ones say nothing, but that there is no error or result that was not asked for.
struct Cell {
  std::string code;
  std::string result = {};     // text/plain, the whole; "" for none
  std::string out = {};        // the whole
  std::string err = {};        // a part of it
  std::string ename = {};      // "" for no error
  std::string evalue = {};     // a part of it
  std::string traceback = {};  // a part of it
};

struct Story {
  std::string name;
  std::string language;
  std::vector<Cell> cells;
};
void PrintTo(const Story& story, std::ostream* out) { *out << story.name; }

class LanguageSessions : public ::testing::TestWithParam<Story> {};

std::string Prepared(const std::string& language, const std::string& code) {
  if (language != "typescript") return code;
  static sandbox::Transpiler transpiler(SharedDriver(), {.processes = 1});
  auto transpiled = transpiler.TranspileCell(code);
  EXPECT_TRUE(transpiled) << transpiled.error().message;
  return transpiled ? *transpiled : "";
}

TEST_P(LanguageSessions, GoFromCellToCell) {
  const Story& story = GetParam();
  ASSERT_TRUE(Ready(story.language)) << story.language;
  auto box = SharedDriver().OpenBox({});
  ASSERT_TRUE(box) << box.error().message;
  const auto start = std::chrono::steady_clock::now();
  auto started = SessionUnderTest::Start(
      **box, story.language == "typescript" ? "javascript" : story.language);
  ASSERT_TRUE(started) << started.error().message;
  const auto took = std::chrono::steady_clock::now() - start;
  RecordProperty("ready_us", std::to_string(took / std::chrono::microseconds(1)));
  std::printf("%s ready after %ld us\n", story.language.c_str(),
              static_cast<long>(took / std::chrono::microseconds(1)));
  SessionUnderTest& session = **started;
  EXPECT_EQ(session.ready().value("ev", ""), "ready");
  EXPECT_EQ(session.ready().value("forks", true), false);
  int count = 0;
  for (const Cell& cell : story.cells) {
    SCOPED_TRACE(cell.code);
    const CellOutcome outcome = session.Run(Prepared(story.language, cell.code));
    ASSERT_FALSE(outcome.died) << outcome.err;
    EXPECT_EQ(outcome.count, ++count);
    EXPECT_EQ(outcome.out, cell.out);
    if (cell.err.empty()) {
      EXPECT_EQ(outcome.err, "");
    } else {
      EXPECT_NE(outcome.err.find(cell.err), std::string::npos) << outcome.err;
    }
    EXPECT_EQ(outcome.ename, cell.ename) << outcome.evalue << "\n" << outcome.traceback;
    EXPECT_NE(outcome.evalue.find(cell.evalue), std::string::npos) << outcome.evalue;
    EXPECT_NE(outcome.traceback.find(cell.traceback), std::string::npos) << outcome.traceback;
    const std::string shown =
        outcome.result.is_null() ? "" : outcome.result.value("text/plain", "(no text)");
    EXPECT_EQ(shown, cell.result);
  }
}

const std::vector<Story> kStories = {
    {"JavaScriptState",
     "javascript",
     {
         {.code = "let a = 1; const b = 2; var c = 3; class K { get n() { return 4; } }\n"
                  "function f() { return 5; }"},
         {.code = "a + b + c + new K().n + f()", .result = "15"},
         {.code = "a += 10; a", .result = "11"},
         {.code = "globalThis.z = [1, { b: new Map([[1, 2]]) }]",
          .result = "[ 1, { b: Map(1) { 1 => 2 } } ]"},
         {.code = "'text'", .result = "'text'"},
         {.code = "undefined"},
         {.code = ""},
         {.code = "{ a: 1 }", .result = "{ a: 1 }"},
         {.code = "{ let inner = 1; console.log(inner) }", .out = "1\n"},
     }},
    {"JavaScriptDeclaresAgain",
     "javascript",
     {
         {.code = "const x = 1; let y = 2; class A {}; function f() { return 1; } var v = 1"},
         {.code = "const x = 3; const y = 4; class A { z = 1 }; x + y", .result = "7"},
         {.code = "let x = 5; x++; x", .result = "6"},
         {.code = "let f = () => 2; f()", .result = "2"},
         {.code = "function f() { return 3; } f()", .result = "3"},
         {.code = "var f = 4; f", .result = "4"},
         {.code = "class f {} f", .result = "[class f]"},
         {.code = "let [v, { w }] = [8, { w: 9 }]; v + w", .result = "17"},
         {.code = "let twice = 1; let twice = 2",
          .ename = "SyntaxError",
          .evalue = "Identifier 'twice' has already been declared",
          .traceback = "cell-9:1:20\n"},
         {.code = "let broken = (() => { throw new Error('no') })()",
          .ename = "Error",
          .evalue = "no"},
         {.code = "let broken = 1; broken", .result = "1"},
     }},
    {"JavaScriptTakesNamesThatAreTaken",
     "javascript",
     {
         {.code =
              "const process = require('process'); let Map = 1, setImmediate, JSON = {}, Buffer; "
              "class Object {} class Array {}"},
         {.code = "const x = 1; Map + x", .result = "2"},
         {.code = "import { join } from 'node:path'; join('a', 'b')", .result = "'a/b'"},
         {.code = "let String = 5, Error = 6, Symbol = 7; null.x", .ename = "TypeError"},
         {.code = "setTimeout(() => { throw 'late'; }, 1); await new Promise((ok) => "
                  "setTimeout(ok, 30))",
          .err = "Uncaught 'late'"},
         {.code = "let process = (() => { throw 1; })()", .ename = "Uncaught", .evalue = "1"},
         {.code = "3", .result = "3"},
     }},
    {"JavaScriptHalfCharacters",
     "javascript",
     {
         {.code = "throw new Error('a\\ud800b\\\\ud800')",
          .ename = "Error",
          .evalue = "a\uFFFDb\\ud800"},
         {.code = "'\\ud83d\\ude00'", .result = "'\U0001F600'"},
     }},
    {"JavaScriptErrors",
     "javascript",
     {
         {.code = "function g() {\n  throw new TypeError('bad');\n}"},
         {.code = "\n\ng()",
          .ename = "TypeError",
          .evalue = "bad",
          .traceback = "TypeError: bad\n    at g (cell-1:2:9)\n    at cell-2:3:1\n"},
         {.code = "let q = = 3",
          .ename = "SyntaxError",
          .evalue = "Unexpected token '='",
          .traceback = "cell-3:1:9\nlet q = = 3\n        ^\nSyntaxError"},
         {.code = "nothing_of_that_name", .ename = "ReferenceError", .traceback = "cell-4:1:1"},
         {.code = "throw { a: 1 }", .ename = "Uncaught", .evalue = "{ a: 1 }"},
         {.code = "JSON.parse('{')", .ename = "SyntaxError", .traceback = "at cell-6:1:6"},
         {.code = "await Promise.reject(new RangeError('r'))",
          .ename = "RangeError",
          .evalue = "r"},
         {.code = "console.log('first');\nnull.x",
          .out = "first\n",
          .ename = "TypeError",
          .traceback = "cell-8:2:6"},
         {.code =
              "({ get [Symbol.toStringTag]() { throw 1; } }); throw new (class Own extends Error "
              "{ get message() { throw 2; } })()",
          .ename = "Error"},
         {.code = "1 + 1", .result = "2"},
     }},
    {"JavaScriptAwaitsAndImports",
     "javascript",
     {
         {.code = "const t = await new Promise((ok) => setTimeout(() => ok(7), 20)); t",
          .result = "7"},
         {.code =
              "import fs, { readFileSync as r } from 'node:fs';\nimport * as os from 'node:os';\n"
              "[typeof fs.existsSync, typeof r, typeof os.cpus].join()",
          .result = "'function,function,function'"},
         {.code = "fs === require('fs')", .result = "true"},
         {.code = "fs.writeFileSync('own.mjs', 'export const v = 6; export default 7;');\n"
                  "fs.writeFileSync('own.cjs', 'exports.w = 8;')"},
         {.code = "import seven, { v } from './own.mjs'; seven + v", .result = "13"},
         {.code = "(await import('./own.mjs')).v + require('./own.cjs').w", .result = "14"},
         {.code = "import nothing from './nothing.mjs'",
          .ename = "Error",
          .evalue = "Cannot find module"},
         {.code = "import x from", .ename = "SyntaxError", .traceback = "cell-8:1:14"},
         {.code = "export const e = 1; export function h() { return 2; }\ne + h()", .result = "3"},
         {.code = "process.cwd()", .result = "'/box/work'"},
     }},
    {"JavaScriptOutput",
     "javascript",
     {
         {.code = "console.log('a'); process.stdout.write('b'); console.error('c'); 1",
          .result = "1",
          .out = "a\nb",
          .err = "c\n"},
         {.code = "for (let i = 0; i < 3; ++i) console.log(i)", .out = "0\n1\n2\n"},
         {.code = "require('child_process').execSync('echo child', { stdio: 'inherit' }); 0",
          .result = "0",
          .out = "child\n"},
         {.code =
              "require('child_process').execSync('ls /proc/self/fd | tail -n +4').toString().trim()"
              ".split('\\n').filter((fd) => fd > 3).join()",
          .result = "''"},
         {.code = "setTimeout(() => { throw new Error('late') }, 10); Promise.reject(new "
                  "Error('lost'));"
                  "await new Promise((ok) => setTimeout(ok, 50))",
          .err = "Uncaught Error: late"},
         {.code = "'alive'", .result = "'alive'"},
     }},
    {"TypeScript",
     "typescript",
     {
         {.code = "enum Colour { Red = 1, Green }\ninterface P { x: number }\n"
                  "const enum Fast { On = 3 }\nconst p: P = { x: 1 };"},
         {.code = "const q: P = { x: Colour.Green };\nq.x + p.x + Fast.On", .result = "6"},
         {.code = "const p: P = { x: 40 }; p.x as number", .result = "40"},
         {.code = "import { join, type ParsedPath } from 'node:path';"},
         {.code = "join('a', 'b')", .result = "'a/b'"},
         {.code = "type T = string;\n\nfunction f(t: T): never {\n  throw new Error(t);\n}"},
         {.code = "interface Gone {\n  a: 1;\n}\nf('x');",
          .ename = "Error",
          .evalue = "x",
          .traceback = "Error: x\n    at f (cell-6:4:9)\n    at cell-7:4:1\n"},
         {.code = "{ a: 1 }", .result = "{ a: 1 }"},
         {.code =
              "namespace N { export const n = 5 }\nclass C { constructor(public v: number) {} }\n"
              "new C(N.n).v",
          .result = "5"},
         {.code = "await Promise.resolve(3) as number", .result = "3"},
     }},
    {"Java",
     "java",
     {
         {.code = "int x = 4;\nint y = 5;\nx * y", .result = "20"},
         {.code = "String x = \"again\"; x", .result = "\"again\""},
         {.code = "int f(int n) {\n  if (n == 0) throw new IllegalStateException(\"boom\");\n"
                  "  return n;\n}\nf(y)",
          .result = "5"},
         {.code = "\n// first\n\nf(0)",
          .ename = "EvalException",
          .evalue = "boom",
          .traceback = "java.lang.IllegalStateException: boom\n\tat f(cell-3:2)\n\tat cell-4:4\n"},
         {.code = "System.out.println(\"out\"); System.err.println(\"err\");",
          .out = "out\n",
          .err = "err\n"},
         {.code = "int a = 1;\n\nString s = a;",
          .ename = "CompilationException",
          .evalue = "incompatible types",
          .traceback = "cell-6:3: error: incompatible types"},
         {.code = "for (", .ename = "CompilationException", .traceback = "cell-7:1: error: "},
         {.code = "record P(int a, int b) {}\nenum E { A, B }\nnew P(1, 2) + \"\" + E.B",
          .result = "\"P[a=1, b=2]B\""},
         {.code = "List.of(1, 2, 3).stream().map(i -> i * y).collect(Collectors.toList())",
          .result = "[5, 10, 15]"},
         {.code = "int later() { return earlier(); }"},
         {.code = "later()", .ename = "UnresolvedReferenceException", .evalue = "method earlier()"},
         {.code = "int earlier() { return 3; }\nlater()", .result = "3"},
         {.code = "// nothing but this"},
         {.code = ""},
         {.code = "new ProcessBuilder(\"bash\", \"-c\", \"echo child; ls /proc/self/fd | wc -l\")"
                  ".inheritIO().start().waitFor()",
          .result = "0",
          .out = "child\n4\n"},
         {.code = "\"\u00e9\\n\\u2603\"", .result = "\"\u00e9\\n\u2603\""},
     }},
    {"Go",
     "go",
     {
         {.code = "import \"fmt\"\n\nfunc add(a, b int) int {\n\treturn a + b\n}\n\n"
                  "fmt.Println(add(1, 2))",
          .out = "3\n"},
         {.code = "var base = 10\ntype P struct{ X, Y int }\nfunc (p P) Sum() int { return p.X + "
                  "p.Y + base }"},
         {.code = "P{1, 2}.Sum()", .result = "13"},
         {.code = "P{1, 2}", .result = "{X:1 Y:2}"},
         {.code = "x := add(base, 1)\nx * 2", .result = "22"},
         {.code = "strings.ToUpper(\"no import\")", .result = "NO IMPORT"},
         {.code = "fmt.Println(\"its two values are not shown\")",
          .out = "its two values are not shown\n"},
         {.code = "func add(a, b int) string { return fmt.Sprint(a, \"+\", b) }\nadd(1, 2)",
          .result = "1+2"},
         {.code = "var base = 20"},
         {.code = "base", .result = "20"},
         {.code = "const (\n\tA = iota\n\tB\n\tC\n)"},
         {.code = "const B = \"b\"\nfmt.Sprint(A, B, C)", .result = "0b2"},
         {.code = "fmt.Println(1)\n\nvar s string = base",
          .ename = "CompileError",
          .evalue = "cell-13:3:16: cannot use base (variable of type int) as string value",
          .traceback = "cell-13:3:16"},
         {.code = "fmt.Println(1)\nfmt.Println(2", .ename = "CompileError", .evalue = "cell-14:"},
         {.code = "import \"github.com/a/b\"\nb.F()",
          .ename = "CompileError",
          .evalue = "package github.com/a/b is not in the standard library"},
         {.code = "func bad(l []int) int {\n\treturn l[3]\n}"},
         {.code = "\nfmt.Println(\"first\")\nbad(nil)",
          .out = "first\n",
          .err = "panic: runtime error: index out of range [3] with length 0",
          .ename = "Panic",
          .evalue = "runtime error: index out of range [3] with length 0",
          .traceback = "cell-16:2"},
         {.code = "os.Exit(3)", .ename = "ExitError", .evalue = "exit status 3"},
         {.code = "for i := 0; i < 2; i++ {\n\tif i == 1 {\n\t\tfmt.Println(i)\n\t}\n}",
          .out = "1\n"},
         {.code = "package main\n\nimport \"fmt\"\n\nfunc main() {\n\tfmt.Println(\"whole\")\n}",
          .out = "whole\n"},
         {.code = "func() { fmt.Println(\"literal\") }()", .out = "literal\n"},
         {.code = "// nothing"},
         {.code = ""},
         {.code = "url := \"shadow\"; rand := struct{ Int int }{4}\nfmt.Sprint(url, rand.Int)",
          .result = "shadow4"},
     }},
};

INSTANTIATE_TEST_SUITE_P(All, LanguageSessions, ::testing::ValuesIn(kStories),
                         [](const auto& each) { return each.param.name; });

// What keeps each language busy until it is interrupted, and what is asked before and after.
struct Busy {
  std::string name;
  std::string language;
  std::string before;
  std::string busy;  // prints "busy" when it is
  std::string after;
  std::string result;
};
void PrintTo(const Busy& busy, std::ostream* out) { *out << busy.name; }

class InterruptedSessions : public ::testing::TestWithParam<Busy> {};

TEST_P(InterruptedSessions, GoOnWithTheirState) {
  const Busy& story = GetParam();
  ASSERT_TRUE(Ready(story.language)) << story.language;
  auto box = SharedDriver().OpenBox({});
  ASSERT_TRUE(box) << box.error().message;
  auto started = SessionUnderTest::Start(**box, story.language);
  ASSERT_TRUE(started) << started.error().message;
  SessionUnderTest& session = **started;
  session.Interrupt();  // idle: nothing, once it has arrived
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  EXPECT_EQ(session.Run(story.before).ename, "");
  for (int round = 0; round < 2; ++round) {
    session.Send(story.busy);
    ASSERT_TRUE(session.WaitForOutput("busy")) << "is not busy";
    session.Interrupt();
    const CellOutcome outcome = session.Finish();
    ASSERT_FALSE(outcome.died) << outcome.err;
    EXPECT_EQ(outcome.ename, "KeyboardInterrupt") << outcome.traceback;
    session.Interrupt();
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
  }
  const CellOutcome outcome = session.Run(story.after);
  ASSERT_FALSE(outcome.died);
  EXPECT_EQ(outcome.ename, "") << outcome.traceback;
  EXPECT_EQ(outcome.result.is_null() ? outcome.out : outcome.result.value("text/plain", ""),
            story.result);
}

INSTANTIATE_TEST_SUITE_P(
    All, InterruptedSessions,
    ::testing::Values(
        Busy{"JavaScriptLoop", "javascript", "let kept = 41", "console.log('busy'); for (;;);",
             "kept + 1", "42"},
        Busy{"JavaScriptLoopAfterAwait", "javascript", "let kept = 41",
             "await new Promise((ok) => setTimeout(ok, 5)); console.log('busy'); for (;;);",
             "await new Promise((ok) => setTimeout(() => ok(kept + 1), 5))", "42"},
        Busy{"JavaScriptLoopInTimer", "javascript", "let kept = 41",
             "setTimeout(() => { console.log('busy'); for (;;); }, 1); await new Promise(() => {})",
             "await new Promise((ok) => setTimeout(() => ok(kept + 1), 5))", "42"},
        Busy{
            "JavaScriptLoopInMicrotask", "javascript", "let kept = 41",
            "console.log('busy'); const again = () => Promise.resolve().then(again); await again()",
            "process.nextTick(() => { kept++ }); await null; await new Promise(setImmediate); kept",
            "42"},
        Busy{"JavaScriptAwait", "javascript", "let kept = 41",
             "console.log('busy'); await new Promise(() => {})", "kept + 1", "42"},
        Busy{"JavaScriptFinally", "javascript", "let kept = 41",
             "console.log('busy'); try { for (;;); } finally { for (;;); }", "kept + 1", "42"},
        Busy{"JavaScriptChild", "javascript", "let kept = 41; const cp = require('child_process')",
             "cp.execSync('echo busy; sleep 1000', { stdio: 'inherit' })", "kept + 1", "42"},
        Busy{
            "GoChild", "go", "var kept = 41",
            "c := exec.Command(\"bash\", \"-c\", \"echo busy; sleep 1000\")\nc.Stdout = os.Stdout\n"
            "c.Run()",
            "kept + 1", "42"},
        Busy{"JavaLoop", "java", "int kept = 41;", "System.out.println(\"busy\");\nwhile (true) {}",
             "kept + 1", "42"},
        Busy{"JavaSleep", "java", "int kept = 41;",
             "System.out.println(\"busy\");\nThread.sleep(1_000_000);", "kept + 1", "42"},
        Busy{"GoLoop", "go", "var kept = 41", "println(\"busy\")\nfor {\n}", "kept + 1", "42"}),
    [](const auto& each) { return each.param.name; });

struct Death {
  std::string name;
  std::string language;
  std::string code;
  int exit_code;
};
void PrintTo(const Death& death, std::ostream* out) { *out << death.name; }

class DyingSessions : public ::testing::TestWithParam<Death> {};

TEST_P(DyingSessions, SayHow) {
  const Death& story = GetParam();
  ASSERT_TRUE(Ready(story.language)) << story.language;
  auto box = SharedDriver().OpenBox({});
  ASSERT_TRUE(box) << box.error().message;
  auto started = SessionUnderTest::Start(**box, story.language);
  ASSERT_TRUE(started) << started.error().message;
  if (story.code.empty()) {
    (*started)->CloseChannel();
  } else if (story.code == "busy") {
    (*started)->Send("console.log('busy'); for (;;);");
    ASSERT_TRUE((*started)->WaitForOutput("busy"));
    (*started)->CloseChannel();
  } else {
    EXPECT_TRUE((*started)->Run(story.code).died);
  }
  const auto status = (*started)->Exit();
  ASSERT_TRUE(status.has_value()) << "does not end";
  EXPECT_TRUE(WIFEXITED(*status)) << *status;
  EXPECT_EQ(WEXITSTATUS(*status), story.exit_code);
}

INSTANTIATE_TEST_SUITE_P(
    All, DyingSessions,
    ::testing::Values(Death{"JavaScriptExits", "javascript", "process.exit(7)", 7},
                      Death{"JavaScriptEndOfChannel", "javascript", "", 0},
                      Death{"JavaExits", "java", "System.exit(5);", 5},
                      Death{"JavaEndOfChannel", "java", "", 0},
                      Death{"GoEndOfChannel", "go", "", 0},
                      Death{"JavaScriptEndOfChannelWhileBusy", "javascript", "busy", 0}),
    [](const auto& each) { return each.param.name; });

TEST(JavaScriptSession, ShowsMore) {
  auto box = SharedDriver().OpenBox({});
  ASSERT_TRUE(box) << box.error().message;
  auto started = SessionUnderTest::Start(**box, "javascript");
  ASSERT_TRUE(started) << started.error().message;
  SessionUnderTest& session = **started;
  struct Case {
    std::string code;
    std::vector<std::string> order;
    nlohmann::json data;
  };
  const std::vector<Case> cases = {
      {"display({ 'text/html': '<b>x</b>' })", {"display"}, {{"text/html", "<b>x</b>"}}},
      {"display.png(Buffer.from([1, 2, 3]))", {"display"}, {{"image/png", "AQID"}}},
      {"display.json({ a: [1] }); 5", {"display", "result"}, {{"text/plain", "5"}}},
      {"display(3)", {"display"}, {{"text/plain", "3"}}},
      {"({ [Symbol.for('Jupyter.display')]: () => ({ 'text/markdown': '# m' }), a: 1 }).a",
       {"result"},
       {{"text/plain", "1"}}},
      {"class M { [Symbol.for('Jupyter.display')]() { return { 'text/markdown': '# m' }; } }; new "
       "M()",
       {"result"},
       {{"text/plain", "M {}"}, {"text/markdown", "# m"}}},
      {"let deep = []; for (let i = 0; i < 500; ++i) deep = [deep]; display.json(deep)",
       {"error"},
       {}},
      {"display.html('x'.repeat(20 << 20))", {"error"}, {}},
      {"new Proxy({}, { get() { throw new Error('trap'); } })", {"result"}, {{"text/plain", "{}"}}},
      {"'y'.repeat(20 << 20).length", {"result"}, {{"text/plain", "20971520"}}},
  };
  for (const Case& each : cases) {
    SCOPED_TRACE(each.code);
    const CellOutcome outcome = session.Run(each.code);
    ASSERT_FALSE(outcome.died);
    EXPECT_EQ(outcome.order, each.order) << outcome.traceback;
    EXPECT_EQ(outcome.result, each.data);
  }
  // However long: whole, and before the cell is said to be over.
  const CellOutcome outcome =
      session.Run("process.stdout.write('x'.repeat(3e6)); console.log('end')");
  EXPECT_EQ(outcome.out.size(), 3000004U);
  EXPECT_TRUE(outcome.out.ends_with("xend\n"));
}

TEST(TypeScriptCells, AreRefusedWithTheirPlace) {
  sandbox::Transpiler transpiler(SharedDriver(), {.processes = 1});
  const auto refused = transpiler.TranspileCell("let a = 1;\nlet x: = 3");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kInvalidArgument);
  EXPECT_TRUE(refused.error().message.starts_with("cell:2:8: error: ")) << refused.error().message;
}

}  // namespace
}  // namespace forkbox::execd::testing
