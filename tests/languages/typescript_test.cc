// TypeScript: what its programs print, what is said of wrong ones, and what becomes of those that
// mean harm. The real transpiler in its sandboxes, the real driver, programs that run.
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <memory>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "runner/sandbox/compiling_driver.h"
#include "runner/sandbox/process_driver.h"
#include "runner/sandbox/transpiler.h"

namespace forkbox {
namespace {

using sandbox::Compiled;
using sandbox::Transpiler;
using sandbox::TranspilerOptions;
using schema::Reason;
using std::chrono::milliseconds;
using std::chrono::seconds;
using std::chrono::steady_clock;

class Typescript : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    if (::getuid() != 0) return;
    ::signal(SIGPIPE, SIG_IGN);
    sandbox::ProcessDriverOptions options;
    options.forkserver_path = FORKBOX_FORKSERVER;
    options.runtime_dir = FORKBOX_RUNTIME_DIR;
    auto started = sandbox::ProcessDriver::Start(std::move(options));
    ASSERT_TRUE(started) << started.error().message;
    sandbox::CompilingDriverOptions compiling;
    compiling.cache_bytes = 0;  // what is tested is the transpiler
    driver_ = new sandbox::CompilingDriver(std::move(*started), compiling);
    auto transpiler = std::make_unique<Transpiler>(driver_->process(), TranspilerOptions{});
    transpiler_ = transpiler.get();
    driver_->SetCompiler("typescript", std::move(transpiler));
    auto opened = driver_->Open(steady_clock::now() + seconds(60));
    ASSERT_TRUE(opened) << opened.error().message;
  }
  static void TearDownTestSuite() {
    delete driver_;
    driver_ = nullptr;
  }

  void SetUp() override {
    if (driver_ == nullptr) GTEST_SKIP() << "sandboxes of their own uid need root";
    for (const auto& language : driver_->Languages()) {
      if (language.id != "typescript") continue;
      ASSERT_TRUE(language.ready) << language.reason;
      return;
    }
    FAIL() << "no TypeScript";
  }

  static schema::Outcome Run(const schema::Source& source) {
    schema::Limits limits;
    limits.memory_bytes = 512ULL << 20;
    auto sandbox = driver_->Fork("typescript", limits);
    if (!sandbox) {
      schema::Outcome none;
      none.message = sandbox.error().message;
      return none;
    }
    return (*sandbox)->Run(source, {});
  }

  static Compiled Transpile(const std::string& code) { return Transpile(*transpiler_, code); }
  static Compiled Transpile(Transpiler& transpiler, const std::string& code) {
    schema::Source source;
    source.code = code;
    return transpiler.Compile(source, {});
  }

  // The transpiler still does what it did before.
  static void ExpectUnharmed() {
    const Compiled compiled = Transpile("enum E { A } console.log(E.A as number);");
    ASSERT_EQ(compiled.reason, Reason::kExited) << compiled.output << compiled.message;
    static const std::string first = compiled.program.code;
    EXPECT_EQ(compiled.program.code, first);
  }

  static sandbox::CompilingDriver* driver_;
  static Transpiler* transpiler_;
};
sandbox::CompilingDriver* Typescript::driver_ = nullptr;
Transpiler* Typescript::transpiler_ = nullptr;

std::string Named(const std::string& name) { return name; }

struct Program {
  const char* name;
  std::string code;
  std::vector<schema::SourceFile> files;
  std::string out;
};

class TypescriptProgram : public Typescript, public testing::WithParamInterface<Program> {};

TEST_P(TypescriptProgram, Prints) {
  schema::Source source;
  source.code = GetParam().code;
  source.files = GetParam().files;
  const schema::Outcome outcome = Run(source);
  EXPECT_EQ(outcome.stdout_text, GetParam().out) << outcome.compile_output << outcome.message;
  EXPECT_EQ(outcome.stderr_text, "");
  EXPECT_EQ(outcome.compile_output, "");
  EXPECT_EQ(outcome.exit_code, 0) << schema::ToString(outcome.reason);
}

INSTANTIATE_TEST_SUITE_P(
    Syntax, TypescriptProgram,
    testing::ValuesIn(std::vector<Program>{
        {"enums",
         "enum A { X, Y = 5, Z }\nenum B { L = 'l', M = `m` }\n"
         "console.log(A.Z, A[0], B.L, Object.keys(A).length);",
         {},
         "6 X l 6\n"},
        {"const_enums",
         "const enum F { R = 1, W = R << 1, RW = R | W, N = 'abc'.length }\n"
         "console.log(F.RW, F.N);",
         {},
         "3 3\n"},
        {"namespaces",
         "namespace Geo { export let n = 1; export namespace In { export const m = n + 1; }\n"
         "  export function grow() { n++; } }\nnamespace Geo { export const late = Geo.n; }\n"
         "Geo.grow(); import I = Geo.In;\nconsole.log(Geo.n, I.m, Geo.late);",
         {},
         "2 2 1\n"},
        {"abstract_classes",
         "abstract class S { abstract area(): number; toString() { return `${this.area()}`; } }\n"
         "class Q extends S { override area() { return 9; } }\nconsole.log(String(new Q()));",
         {},
         "9\n"},
        {"parameter_properties",
         "class P { y = this.x * 2; constructor(public readonly x: number, private z = 3) {}\n"
         "  sum() { return this.x + this.y + this.z; } }\nconsole.log(new P(2).sum());",
         {},
         "9\n"},
        {"declared_fields_are_not_reset",
         "class A { v = 1; }\nclass B extends A { declare v: number; w?: string; }\n"
         "console.log(JSON.stringify(new B()));",
         {},
         "{\"v\":1}\n"},
        {"private_names_and_accessors",
         "class C { #n = 1; accessor a = 2; static #count = 0; static { C.#count = 7; }\n"
         "  get n() { return this.#n + this.a + C.#count; } }\nconsole.log(new C().n);",
         {},
         "10\n"},
        {"generics",
         "function first<T extends readonly unknown[]>(t: T): T[0] { return t[0]; }\n"
         "class Box<in out T = string> { constructor(readonly v: T) {} map<U>(f: (t: T) => U) {\n"
         "  return new Box<U>(f(this.v)); } }\n"
         "const id = <const T,>(t: T): T => t;\n"
         "console.log(first([1, 2]), new Box('a').map((s) => s.length).v, id<number>(3));",
         {},
         "1 1 3\n"},
        {"satisfies_as_and_non_null",
         "const c = { a: 1 } satisfies Record<string, number>;\nlet u: string | undefined = 'x';\n"
         "console.log(c.a as unknown as string, u!.length, <any>c.a);",
         {},
         "1 1 1\n"},
        {"overloads_and_this_types",
         "function f(a: string): string; function f(a: number): number;\n"
         "function f(this: void, a: any) { return a; }\nconsole.log(f('s'), f(2));",
         {},
         "s 2\n"},
        {"types_only",
         "type M<T> = { readonly [K in keyof T]-?: T[K] extends infer U ? U : never };\n"
         "interface I { (x: number): string; new (x: string): I; [key: string]: any }\n"
         "declare const nothing: I; declare module 'x' { export const y: 1; } declare global {}\n"
         "type T = `a${string}` | [a: number, b?: string, ...c: boolean[]] | typeof import('fs');\n"
         "function assert(x: unknown): asserts x is string {}\n"
         "let v: M<{ a?: 1 }>; abstract class Q {} ; console.log('types'); export {};",
         {},
         "types\n"},
        {"decorators_of_typescript",
         "function log(t: any, key: string, d: PropertyDescriptor) { const f = d.value;\n"
         "  d.value = function (...a: any[]) { return `<${key} ${f.apply(this, a)}>`; }; }\n"
         "const seen: string[] = [];\n"
         "function p(t: any, key: string, i: number) { seen.push(`${key}#${i}`); }\n"
         "function c<T extends new (...a: any[]) => object>(k: T) { return class extends k {\n"
         "  extra = 1; }; }\n"
         "@c class A { @log f(@p x: number) { return x; } }\n"
         "const a = new A() as any; console.log(a.f(3), a.extra, seen);",
         {},
         "<f 3> 1 [ 'f#0' ]\n"},
        {"decorators_with_metadata",
         "(Reflect as any).metadata = (k: string, v: any) => (t: any, p: string) => {\n"
         "  if (k === 'design:type') console.log(p, v.name); };\n"
         "const d: PropertyDecorator = () => {};\n"
         "class A { @d name!: string; @d when?: Date; @d many: number[] = []; }",
         {},
         "name String\nwhen Date\nmany Array\n"},
        {"decorators_of_the_standard",
         "function twice(f: any, context: ClassMethodDecoratorContext) {\n"
         "  console.log(context.kind, String(context.name));\n"
         "  return function (this: any, ...a: any[]) { return f.apply(this, a) * 2; }; }\n"
         "class A { @twice f() { return 21; } }\nconsole.log(new A().f());",
         {},
         "method f\n42\n"},
        {"decorators_as_the_configuration_says",
         "const d = (v: any, context: any) => { console.log(typeof v, context.kind); };\n"
         "class A { @d f() {} }",
         {{"tsconfig.json",
           "{ // ours\n \"compilerOptions\": { \"experimentalDecorators\": false, } }"}},
         "function method\n"},
        {"using",
         "function open(n: string) { return { n, [Symbol.dispose]() { console.log('close', n); } };"
         " }\n{ using a = open('a'); using b = open('b'); console.log(a.n + b.n); }",
         {},
         "ab\nclose b\nclose a\n"},
        {"await_using",
         "{ await using a = { async [Symbol.asyncDispose]() { console.log('gone'); } }; }\n"
         "console.log('after');",
         {},
         "gone\nafter\n"},
        {"optional_and_logical",
         "const o: { a?: { b(): number } } = {}; let n: number | null = null;\n"
         "n ?\?= 4; console.log(o.a?.b(), o?.['a'], n ** 2, 1_000n);",
         {},
         "undefined undefined 16 1000n\n"},
        {"generators_and_iteration",
         "function* g(): Generator<number, void, unknown> { yield* [1, 2]; }\n"
         "async function* h() { for (const x of g()) yield x; }\n"
         "(async () => { for await (const x of h()) console.log(x); })();",
         {},
         "1\n2\n"},
        {"import_equals",
         "import fs = require('fs'); import type { Stats } from 'fs';\n"
         "const f = (s: Stats) => s; console.log(typeof fs.readFileSync, typeof f);",
         {},
         "function function\n"},
        {"export_equals",
         "import three = require('./three'); console.log(three);",
         {{"three.ts", "const n: number = 3; export = n;"}},
         "3\n"},
        {"imports_of_node",
         "import path, { join } from 'node:path'; import * as os from 'os';\n"
         "console.log(join('a', 'b'), path.sep, os.EOL.length);",
         {},
         "a/b / 1\n"},
        {"top_level_await",
         "const x: number = await Promise.resolve(1);\nconsole.log(x, typeof import.meta.url);",
         {},
         "1 string\n"},
        {"top_level_await_of_parentheses", "await (console.log('waited'), 1);", {}, "waited\n"},
        {"top_level_for_await",
         "for await (const x of [Promise.resolve(1), 2]) console.log(x as number);",
         {},
         "1\n2\n"},
        {"await_only_inside_functions",
         "async function f() { await null; return require('path').sep; }\n"
         "f().then((s: string) => console.log(s, typeof module));",
         {},
         "/ object\n"},
        {"the_rest_of_commonjs",
         "console.log(require.main === module, __filename, typeof exports);",
         {},
         "true /box/work/main.js object\n"},
        {"byte_order_mark", "\xEF\xBB\xBFlet x: number = 1;\r\nconsole.log(x);\r\n", {}, "1\n"},
        {"unicode",
         "const \xC3\xA9t\xC3\xA9: string = '\xF0\x9F\x8C\x9E \\u{1F30D}'; "
         "console.log(\xC3\xA9t\xC3\xA9);",
         {},
         "\xF0\x9F\x8C\x9E \xF0\x9F\x8C\x8D\n"},
        {"empty", "", {}, ""},
        {"jsx_by_default_is_react",
         "import { el } from './view'; console.log(JSON.stringify(el));",
         {{"view.tsx",
           "const React = { createElement: (t: any, p: any, ...c: any[]) => [t, p, ...c],\n"
           "  Fragment: '' };\n"
           "export const el = <a href=\"x\"><>{1}</></a>;"}},
         "[\"a\",{\"href\":\"x\"},[\"\",null,1]]\n"},
        {"jsx_with_a_pragma",
         "import { el } from './view'; console.log(el);",
         {{"view.tsx",
           "/** @jsx h */\nconst h = (t: string, p: unknown, c: string) => t + c;\n"
           "export const el = <b>x</b>;"}},
         "bx\n"},
    }),
    [](const auto& test) { return Named(test.param.name); });

const std::vector<schema::SourceFile> kLibrary{
    {"utils.ts",
     "import type { Shape } from './types';\nexport interface Local { a: 1 }\n"
     "export const area = (s: Shape): number => s.w * s.h;\n"
     "export default class Tool { name: string = 'tool'; }"},
    {"types.ts", "export interface Shape { w: number; h: number }\nexport type N = number;"},
    {"lib/index.ts", "export * from './deep/inner';\nexport { area as surface } from '../utils';"},
    {"lib/deep/inner.ts", "export enum Level { Low = 1, High }"},
    {"data.json", "{\"answer\": 42}"},
    {"plain.js", "exports.plain = 'plain js';"},
};

INSTANTIATE_TEST_SUITE_P(
    Modules, TypescriptProgram,
    testing::ValuesIn(std::vector<Program>{
        {"no_extension",
         "import Tool, { area, type Local } from './utils'; import { Shape } from './types';\n"
         "const s: Shape = { w: 2, h: 3 }; console.log(area(s), new Tool().name);",
         kLibrary, "6 tool\n"},
        {"extension_ts", "import { area } from './utils.ts'; console.log(area({ w: 1, h: 1 }));",
         kLibrary, "1\n"},
        {"extension_js", "import { area } from './utils.js'; console.log(area({ w: 1, h: 2 }));",
         kLibrary, "2\n"},
        {"folder",
         "import { Level, surface } from './lib'; console.log(Level[2], surface({ w: 2, h: 2 }));",
         kLibrary, "High 4\n"},
        {"require", "const { area } = require('./utils'); console.log(area({ w: 5, h: 1 }));",
         kLibrary, "5\n"},
        {"dynamic",
         "async function main() { const { default: Tool } = await import('./utils');\n"
         "  const m = await import('./utils.ts'); console.log(new Tool().name, m.default === Tool);"
         " }\nmain();",
         kLibrary, "tool true\n"},
        {"json_and_plain_js",
         "import data from './data.json'; import { plain } from './plain';\n"
         "console.log(data.answer, plain);",
         kLibrary, "42 plain js\n"},
        {"circular",
         "import { a } from './a'; console.log(a());",
         {{"a.ts", "import { b } from './b'; export const a = () => b() + 1; export const n = 1;"},
          {"b.ts", "import { n } from './a'; export const b = (): number => n;"}},
         "2\n"},
        {"es_modules_when_awaiting",
         "import Tool, { area } from './utils'; import { Level } from './lib';\n"
         "import data from './data.json' with { type: 'json' };\nimport plain from './plain.js';\n"
         "const late = await import('./lib/deep/inner');\n"
         "console.log(area({ w: 1, h: 9 }), new Tool().name, Level.High, late.Level.Low,\n"
         "  data.answer, plain.plain);",
         kLibrary, "9 tool 2 1 42 plain js\n"},
        {"es_modules_import_json",
         "import data from './data.json'; const m = await import('./data.json');\n"
         "console.log(data.answer, m.default.answer);",
         kLibrary, "42 42\n"},
        {"awaiting_in_a_file",
         "import { x } from './slow'; console.log(x);",
         {{"slow.ts", "export const x: number = await Promise.resolve(8);"}},
         "8\n"},
        {"mts_and_cts",
         "import { m } from './m.mjs'; import { c } from './c.cjs'; console.log(m + c);",
         {{"m.mts", "export const m: number = 1;"}, {"c.cts", "export const c: number = 2;"}},
         "3\n"},
        {"package_of_modules",
         "import { u } from './u'; console.log(u, typeof require);",
         {{"package.json", "{\"type\": \"module\"}"}, {"u.ts", "export const u: string = 'u';"}},
         "u undefined\n"},
        {"javascript_that_uses_typescript",
         "import { go } from './go.js'; console.log(go());",
         {{"go.js", "const { n } = require('./n'); exports.go = () => n;"},
          {"n.ts", "export const n: number = 11;"}},
         "11\n"},
        {"declarations",
         "import { v } from './v'; console.log(v);",
         {{"v.d.ts", "export declare const v: number;"}, {"v.js", "exports.v = 1;"}},
         "1\n"},
        {"const_enum_of_another_file",
         "import { E } from './e'; console.log(E.B);",
         {{"e.ts", "export const enum E { A, B }"}},
         "1\n"},
    }),
    [](const auto& test) { return Named(test.param.name); });

struct Mistake {
  const char* name;
  std::string code;
  std::vector<schema::SourceFile> files;
  std::string said;  // the whole of it
};

class TypescriptMistake : public Typescript, public testing::WithParamInterface<Mistake> {};

TEST_P(TypescriptMistake, IsShownWhereItIs) {
  schema::Source source;
  source.code = GetParam().code;
  source.files = GetParam().files;
  const schema::Outcome outcome = Run(source);
  EXPECT_EQ(outcome.reason, Reason::kCompileFailed) << schema::ToString(outcome.reason);
  EXPECT_EQ(outcome.state, schema::State::kError);
  EXPECT_EQ(outcome.compile_output, GetParam().said);
  EXPECT_EQ(outcome.stdout_text, "");
}

INSTANTIATE_TEST_SUITE_P(
    Syntax, TypescriptMistake,
    testing::ValuesIn(std::vector<Mistake>{
        {"missing_value",
         "let x = 1;\nlet y = ;\n",
         {},
         "main.ts:2:9: error: Expression expected\n    2 | let y = ;\n      |         ^\n"},
        {"missing_bracket",
         "function f() {\n  console.log(1;\n}",
         {},
         "main.ts:2:16: error: Expected ',', got ';'\n"
         "    2 |   console.log(1;\n      |                ^\n"},
        {"unclosed_comment",
         "let a = 1;\n/* never",
         {},
         "main.ts:2:1: error: Unterminated block comment\n    2 | /* never\n      | ^\n"},
        {"unclosed_string",
         "const a = 'never\nlet b = 1;",
         {},
         "main.ts:1:11: error: Unterminated string constant\n"
         "    1 | const a = 'never\n      |           ^\n"},
        {"ends_too_soon",
         "function f() {\n  if (true) {\n",
         {},
         "main.ts:2:14: error: Expected '}', got '<eof>'\n"
         "    2 |   if (true) {\n      |              ^\n"},
        {"types_too",
         "interface A { x: number, , }",
         {},
         "main.ts:1:26: error: Expected ident\n"
         "    1 | interface A { x: number, , }\n      |                          ^\n"},
        {"what_only_a_compiler_knows",
         "abstract class A { abstract f(): void { } }",
         {},
         "main.ts:1:20: error: Abstract method cannot have an implementation.\n"
         "    1 | abstract class A { abstract f(): void { } }\n"
         "      |                    ^\n"},
        {"const_without_value",
         "const c: number;",
         {},
         "main.ts:1:7: error: 'const' declarations must be initialized\n"
         "    1 | const c: number;\n      |       ^\n"},
        {"two_constructors",
         "class A {\n\tconstructor() {}\n\tconstructor() {}\n}",
         {},
         "main.ts:3:2: error: A class can only have one constructor\n"
         "    3 | \tconstructor() {}\n      | \t^\n"},
        {"break_outside",
         "let x = 1;\nbreak;",
         {},
         "main.ts:2:1: error: A 'break' statement can only be used within an enclosing iteration "
         "or "
         "switch statement\n    2 | break;\n      | ^\n"},
        {"reserved_words",
         "var private = 1;",
         {},
         "main.ts:1:5: error: `private` cannot be used as an identifier in strict mode\n"
         "    1 | var private = 1;\n      |     ^\n"},
        {"markup_in_a_plain_file",
         "const x = <div>a</div>;",
         {},
         "main.ts:1:18: error: Unterminated regexp literal\n"
         "    1 | const x = <div>a</div>;\n      |                  ^\n"
         "main.ts:1:18: error: Expression expected\n"
         "    1 | const x = <div>a</div>;\n      |                  ^\n"},
        {"wide_characters",
         "let \xE6\x97\xA5 = 'x' 'y';",
         {},
         "main.ts:1:13: error: Expected a semicolon\n"
         "    1 | let \xE6\x97\xA5 = 'x' 'y';\n      |             ^\n"},
        {"in_another_file",
         "import './lib/b';",
         {{"lib/b.ts", "\nexport const x = ;"}},
         "lib/b.ts:2:18: error: Expression expected\n"
         "    2 | export const x = ;\n      |                  ^\n"},
        {"in_two_files",
         "let a = ;",
         {{"b.tsx", "<a>"}, {"c.ts", "let ok = 1;"}},
         "main.ts:1:9: error: Expression expected\n    1 | let a = ;\n      |         ^\n"
         "b.tsx:1:4: error: Expected '</', got '<eof>'\n    1 | <a>\n      |    ^\n"},
        {"far_along_a_long_line",
         std::string(500, ' ') + "let y = ;",
         {},
         "main.ts:1:509: error: Expression expected\n    1 | " + std::string(71, ' ') +
             "let y = ;\n      | " + std::string(79, ' ') + "^\n"},
        {"escapes_are_not_passed_on",
         "let a = \x1B[31m1;",
         {},
         "main.ts:1:9: error: Unexpected character '\\u{1b}'\n"
         "    1 | let a = \xEF\xBF\xBD[31m1;\n      |         ^\n"},
        {"name_taken_by_the_program",
         "export {};",
         {{"main.js", "1"}},
         "main.js: error: main.ts is among the files too, and both become main.js\n"},
        {"name_taken_by_a_file",
         "export {};",
         {{"a.js", "1"}, {"a.ts", "1"}},
         "a.ts: error: a.js is among the files too, and both become a.js\n"},
        {"declared_twice",
         "let a = 1;\n  let a = 2;",
         {},
         "main.ts:2:7: error: Identifier 'a' has already been declared\n"
         "    2 |   let a = 2;\n      |       ^\n"},
    }),
    [](const auto& test) { return Named(test.param.name); });

struct Failure {
  const char* name;
  std::string code;
  std::vector<schema::SourceFile> files;
  std::vector<std::string> said;  // of stderr, in this order
};

class TypescriptFailure : public Typescript, public testing::WithParamInterface<Failure> {};

TEST_P(TypescriptFailure, NamesTheLinesOfTheSource) {
  schema::Source source;
  source.code = GetParam().code;
  source.files = GetParam().files;
  const schema::Outcome outcome = Run(source);
  EXPECT_EQ(outcome.exit_code, 1) << outcome.compile_output << outcome.message;
  std::size_t at = 0;
  for (const std::string& words : GetParam().said) {
    at = outcome.stderr_text.find(words, at);
    ASSERT_NE(at, std::string::npos) << words << "\nin\n" << outcome.stderr_text;
  }
}

INSTANTIATE_TEST_SUITE_P(
    Traces, TypescriptFailure,
    testing::ValuesIn(std::vector<Failure>{
        {"thrown",
         "interface Long {\n  a: number;\n}\n\nfunction f(x: Long): never {\n"
         "  throw new Error(`no ${x.a}`);\n}\nf({ a: 1 });",
         {},
         {"/box/work/main.ts:6\n  throw new Error(`no ${x.a}`);\n", "Error: no 1\n",
          "at f (/box/work/main.ts:6:9)", "at Object.<anonymous> (/box/work/main.ts:8:1)"}},
        {"in_another_file",
         "import { go } from './lib/go';\ngo();",
         {{"lib/go.ts", "type A = 1;\n\nexport function go() {\n  (null as any).x;\n}"}},
         {"TypeError: Cannot read properties of null", "at go (/box/work/lib/go.ts:4:17)",
          "/box/work/main.ts:2"}},
        {"after_awaiting",
         "type X = 1;\nawait null;\n\nconst s: X = JSON.parse('{');",
         {},
         {"SyntaxError", "/box/work/main.ts:4:19"}},
        {"rejected",
         "type X = 1;\n\nPromise.reject(new RangeError('late'));",
         {},
         {"RangeError: late", "/box/work/main.ts:3:16"}},
        {"missing_module",
         "import { x } from './nothing';\nconsole.log(x);",
         {},
         {"Cannot find module './nothing'", "MODULE_NOT_FOUND"}},
    }),
    [](const auto& test) { return Named(test.param.name); });

// No name of ours is in the program's environment.
TEST_F(Typescript, LeavesTheEnvironmentAlone) {
  schema::Source source;
  source.code =
      "console.log(Object.keys(process.env).filter((k) => /FORKBOX/.test(k)).length);\n"
      "console.log(process.argv.slice(2).join());";
  source.args = {"a", "b"};
  EXPECT_EQ(Run(source).stdout_text, "0\na,b\n");
  // A start of node itself, because of its options, knows the lines too.
  source.code = "type A = 1;\n\nconsole.log(typeof gc, /main.ts:3/.test(new Error().stack!));";
  source.env = {{"NODE_OPTIONS", "--expose-gc"}};
  EXPECT_EQ(Run(source).stdout_text, "function true\n");
}

std::string Repeat(const std::string& text, int times) {
  std::string all;
  for (int i = 0; i < times; ++i) all += text;
  return all;
}

struct Hostile {
  const char* name;
  std::string code;
  Reason reason;
  std::string said;
};

class TypescriptHostile : public Typescript, public testing::WithParamInterface<Hostile> {};

TEST_P(TypescriptHostile, HarmsNobodyElse) {
  ExpectUnharmed();
  const Compiled compiled = Transpile(GetParam().code);
  EXPECT_EQ(compiled.reason, GetParam().reason) << schema::ToString(compiled.reason);
  EXPECT_EQ(compiled.output, GetParam().said) << compiled.message;
  ExpectUnharmed();
}

const std::string kTooDeep = "main.ts: error: too deeply nested or too large to transpile\n";

INSTANTIATE_TEST_SUITE_P(
    Sources, TypescriptHostile,
    testing::ValuesIn(std::vector<Hostile>{
        {"parentheses", Repeat("(", 10000) + "1" + Repeat(")", 10000), Reason::kCompileFailed,
         kTooDeep},
        {"brackets_that_never_close", Repeat("[", 50000), Reason::kCompileFailed, kTooDeep},
        {"blocks", Repeat("{", 10000) + Repeat("}", 10000), Reason::kCompileFailed, kTooDeep},
        {"types", "let a: " + Repeat("A<", 10000) + "B" + Repeat(">", 10000),
         Reason::kCompileFailed, kTooDeep},
        {"templates", Repeat("`${", 10000) + "1" + Repeat("}`", 10000), Reason::kCompileFailed,
         kTooDeep},
        {"nul", std::string("let a = 1;\0", 11), Reason::kCompileFailed,
         "main.ts:1:11: error: Unexpected character '\\0'\n"
         "    1 | let a = 1;\xEF\xBF\xBD\n      |           ^\n"},
        {"nul_in_a_string", std::string("let a: string = '\0';", 20), Reason::kExited, ""},
        {"lone_surrogate_as_bytes", "let a = '\xED\xA0\x80';", Reason::kExited, ""},
        {"lone_surrogate_as_escape", "let a: string = '\\ud800';", Reason::kExited, ""},
        {"no_utf8", "let a: string = '\xFF\xFE\xC3';", Reason::kExited, ""},
        {"five_megabytes_of_text", "let s: string = '" + std::string(5 << 20, 'x') + "';",
         Reason::kExited, ""},
        {"one_line_of_a_megabyte_that_is_wrong", "let s = '" + std::string(1 << 20, 'x') + "' 1;",
         Reason::kCompileFailed, "main.ts: error: a mistake, in a line too long to show it\n"},
        {"a_map_of_its_own",
         "let a: number = 1;\n//# sourceMappingURL=data:application/json,{\"version\":3}\n",
         Reason::kExited, ""},
        {"a_map_from_elsewhere", "let a: number = 1;\n//# sourceMappingURL=/etc/passwd\n",
         Reason::kExited, ""},
    }),
    [](const auto& test) { return Named(test.param.name); });

TEST_F(Typescript, TakesAHundredFilesAndThousands) {
  for (const int count : {100, 2000}) {
    schema::Source source;
    for (int i = 0; i < count; ++i) {
      const std::string n = std::to_string(i);
      source.code += "import { f" + n + " } from './f" + n + "';\n";
      source.files.push_back(
          {"f" + n + ".ts", "export const f" + n + " = (): number => " + n + ";"});
    }
    source.code += "console.log(f0() + f" + std::to_string(count - 1) + "());";
    const Compiled compiled = transpiler_->Compile(source, {});
    ASSERT_EQ(compiled.reason, Reason::kExited) << compiled.output;
    ASSERT_EQ(compiled.program.files.size(), source.files.size());
    EXPECT_EQ(compiled.program.files[7].path, "f7.js");
    if (count == 100) {
      EXPECT_EQ(Run(source).stdout_text, "99\n");
    }
  }
}

TEST_F(Typescript, RefusesMoreThanItsLimit) {
  schema::Source source;
  for (int i = 0; i < 5; ++i) {
    source.files.push_back({"f" + std::to_string(i) + ".ts", std::string(13 << 20, ' ')});
  }
  const Compiled compiled = transpiler_->Compile(source, {});
  EXPECT_EQ(compiled.reason, Reason::kCompileFailed);
  EXPECT_EQ(compiled.output, "main.ts: error: the program is larger than 64 MiB\n");
}

// swc tries every reading of this, twice as many for each arrow.
const std::string kHang = Repeat("a?(b):c=>", 60) + "d";

// A transpiler of its own for what ends its processes.
TranspilerOptions Impatient() {
  TranspilerOptions options;
  options.time = seconds(2);
  options.processes = 2;
  return options;
}

TEST_F(Typescript, OneThatHangsIsToldSoAndDelaysNobody) {
  Transpiler transpiler(driver_->process(), Impatient());
  ASSERT_EQ(Transpile(transpiler, "let a = 1;").reason, Reason::kExited);
  while (transpiler.Stats().ready < 2) std::this_thread::sleep_for(milliseconds(10));
  Compiled hung;
  {
    const std::jthread hostile([&] { hung = Transpile(transpiler, kHang); });
    for (int i = 0; i < 20; ++i) {
      EXPECT_EQ(Transpile(transpiler, "let a: number = 1;").reason, Reason::kExited);
    }
  }
  EXPECT_EQ(hung.reason, Reason::kCompileFailed);
  EXPECT_EQ(hung.output, "main.ts: error: transpiling took longer than 2000 ms\n");
  EXPECT_FALSE(hung.repeatable);  // not to be kept: a loaded machine may be all there was to it
  // Once more costs nobody anything.
  const Compiled again = Transpile(transpiler, kHang);
  EXPECT_EQ(again.reason, Reason::kCompileFailed);
  EXPECT_EQ(again.output, hung.output);
  EXPECT_FALSE(again.repeatable);
  EXPECT_EQ(transpiler.Stats().lost, 1U);
  // Both at once: a third waits until one was replaced.
  {
    const std::jthread one([&] { (void)Transpile(transpiler, kHang + "1"); });
    const std::jthread other([&] { (void)Transpile(transpiler, kHang + "2"); });
    std::this_thread::sleep_for(milliseconds(300));
    EXPECT_EQ(Transpile(transpiler, "let a: number = 1;").reason, Reason::kExited);
  }
  EXPECT_EQ(transpiler.Stats().lost, 3U);
}

TEST_F(Typescript, ARefusalPassesAway) {
  TranspilerOptions options = Impatient();
  options.time = milliseconds(500);
  options.refuse_time = milliseconds(100);
  Transpiler transpiler(driver_->process(), options);
  EXPECT_EQ(Transpile(transpiler, kHang).reason, Reason::kCompileFailed);
  std::this_thread::sleep_for(milliseconds(150));
  EXPECT_EQ(Transpile(transpiler, kHang).reason, Reason::kCompileFailed);
  EXPECT_EQ(transpiler.Stats().lost, 2U);
}

TEST_F(Typescript, CancellingEndsATranspileAtOnce) {
  Transpiler transpiler(driver_->process(), TranspilerOptions{});
  ASSERT_EQ(Transpile(transpiler, "let a = 1;").reason, Reason::kExited);
  std::stop_source stop;
  const std::jthread canceller([&] {
    std::this_thread::sleep_for(milliseconds(200));
    stop.request_stop();
  });
  schema::Source source;
  source.code = kHang;
  EXPECT_EQ(transpiler.Compile(source, stop.get_token()).reason, Reason::kCancelled);
  EXPECT_EQ(transpiler.Compile(source, stop.get_token()).reason, Reason::kCancelled);
  EXPECT_EQ(Transpile(transpiler, "let a = 1;").reason, Reason::kExited);
}

TEST_F(Typescript, OutOfMemoryIsTheSourcesOwn) {
  TranspilerOptions options;
  options.memory_bytes = 192ULL << 20;
  options.processes = 1;
  Transpiler transpiler(driver_->process(), options);
  const Compiled compiled =
      Transpile(transpiler, "let a: number[] = [" + Repeat("1,", 2'000'000) + "];");
  EXPECT_EQ(compiled.reason, Reason::kCompileFailed);
  EXPECT_EQ(compiled.output, "main.ts: error: the transpiler ran out of memory or ended on this\n");
  EXPECT_EQ(Transpile(transpiler, "let a = 1;").reason, Reason::kExited);
}

// The process driver, but the first few services do something wrong at their second frame: the
// first is the one that says that they are ready.
class Saboteur final : public sandbox::Driver {
 public:
  Saboteur(sandbox::Driver& driver, std::string wrong, int times)
      : driver_(driver), wrong_(std::move(wrong)), left_(times) {}

  Result<std::unique_ptr<sandbox::Service>> Serve(const std::string& language,
                                                  const schema::Limits& limits,
                                                  const schema::Source& source) override {
    schema::Source changed = source;
    if (left_-- > 0) {
      changed.code =
          "{ const fs = require('fs'); const write = fs.writeSync; let frames = 0;\n"
          "fs.writeSync = (...args) => { if (++frames < 2) return write(...args);\n" +
          wrong_ + " }; }\n" + source.code;
    }
    return driver_.Serve(language, limits, changed);
  }
  Result<std::unique_ptr<sandbox::Sandbox>> Fork(const std::string& language,
                                                 const schema::Limits& limits) override {
    return driver_.Fork(language, limits);
  }
  [[nodiscard]] std::vector<sandbox::LanguageStatus> Languages() const override { return {}; }
  [[nodiscard]] sandbox::DriverStats Stats() const override { return {}; }
  [[nodiscard]] std::vector<std::string> MissingProtections() const override { return {}; }

 private:
  sandbox::Driver& driver_;
  const std::string wrong_;
  int left_;  // used by the transpiler's one thread that starts processes
};

struct Fault {
  const char* name;
  std::string wrong;
  int processes_with_it;
  Reason reason;
  std::string said;
};

class TranspilerFault : public Typescript, public testing::WithParamInterface<Fault> {};

TEST_P(TranspilerFault, CostsAtMostItsOwnSource) {
  Saboteur saboteur(driver_->process(), GetParam().wrong, GetParam().processes_with_it);
  TranspilerOptions options = Impatient();
  options.processes = 1;
  Transpiler transpiler(saboteur, options);
  const Compiled compiled = Transpile(transpiler, "console.log(1 as number);");
  EXPECT_EQ(compiled.reason, GetParam().reason) << compiled.message;
  EXPECT_EQ(compiled.output, GetParam().said);
  const Compiled next = Transpile(transpiler, "console.log(2 as number);");
  EXPECT_EQ(next.reason, Reason::kExited) << next.output;
}

const std::string kEnded = "main.ts: error: the transpiler ran out of memory or ended on this\n";

INSTANTIATE_TEST_SUITE_P(
    Processes, TranspilerFault,
    testing::ValuesIn(std::vector<Fault>{
        {"killed_once", "process.kill(process.pid, 'SIGKILL');", 1, Reason::kExited, ""},
        {"killed_twice", "process.kill(process.pid, 'SIGKILL');", 2, Reason::kCompileFailed,
         kEnded},
        {"ends_by_itself", "process.reallyExit(0);", 1, Reason::kExited, ""},
        {"dies_within_a_frame", "write(1, Buffer.from([9, 0, 0, 0, 1])); process.reallyExit(0);", 1,
         Reason::kExited, ""},
        {"nonsense",
         "return write(1, Buffer.concat([Buffer.from([8, 0, 0, 0]), "
         "Buffer.alloc(8, 0xff)]));",
         1, Reason::kExited, ""},
        {"too_few_files",
         "return write(1, Buffer.from([12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, "
         "0, 0, 0]));",
         1, Reason::kExited, ""},
        {"talks_on", "return write(1, Buffer.concat([args[1], args[1]]));", 1, Reason::kExited, ""},
        {"a_frame_of_gigabytes", "return write(1, Buffer.alloc(65536, 0xff));", 1,
         Reason::kCompileFailed, "main.ts: error: the transpiled program is too large\n"},
        {"says_nothing", "for (;;) {}", 1, Reason::kCompileFailed,
         "main.ts: error: transpiling took longer than 2000 ms\n"},
    }),
    [](const auto& test) { return Named(test.param.name); });

// Whoever answers before it has heard everything is not asked again: the rest of the request would
// be taken for the next one.
TEST_F(Typescript, AnAnswerToHalfARequestIsNone) {
  Saboteur saboteur(
      driver_->process(),
      "return write(...args); };\n"
      "const read = fs.readSync; let reads = 0; fs.readSync = (...args) => {\n"
      "  const n = read(...args); if (++reads === 1) {\n"
      "    write(1, Buffer.from([12, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]));\n"
      "    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 500); }\n"
      "  return n;",
      1);
  TranspilerOptions options;
  options.processes = 1;
  Transpiler transpiler(saboteur, options);
  const Compiled compiled =
      Transpile(transpiler, "/*" + std::string(4U << 20, 'x') + "*/ console.log(1 as number);");
  EXPECT_EQ(compiled.reason, Reason::kExited) << compiled.output;
  EXPECT_EQ(transpiler.Stats().lost, 1U);
}

// One that dies while nobody uses it is replaced before anybody meets it.
TEST_F(Typescript, AProcessThatDiesIdleCostsNothing) {
  Saboteur saboteur(
      driver_->process(),
      "const n = write(...args); setImmediate(() => process.reallyExit(0)); return n;", 1);
  TranspilerOptions options;
  options.processes = 1;
  Transpiler transpiler(saboteur, options);
  EXPECT_EQ(Transpile(transpiler, "let a = 1;").reason, Reason::kExited);
  std::this_thread::sleep_for(milliseconds(300));
  EXPECT_EQ(Transpile(transpiler, "let a = 1;").reason, Reason::kExited);
  EXPECT_EQ(transpiler.Stats().lost, 1U);
  EXPECT_EQ(transpiler.Stats().started, 2U);
}

TEST_F(Typescript, ProcessesLeaveAfterTheirShare) {
  TranspilerOptions options;
  options.sources_per_process = 1;
  Transpiler transpiler(driver_->process(), options);
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(Transpile(transpiler, "let a = 1;").reason, Reason::kExited);
  }
  EXPECT_EQ(transpiler.Stats().lost, 0U);
  EXPECT_GE(transpiler.Stats().started, 4U);
}

TEST_F(Typescript, ManyAtOnceGetTheirOwn) {
  constexpr int kThreads = 6;
  constexpr int kRounds = 20;
  std::vector<int> wrong(kThreads, 0);
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < kThreads; ++t) {
      threads.emplace_back([t, &wrong] {
        for (int i = 0; i < kRounds; ++i) {
          const std::string own = "own" + std::to_string(t) + "_" + std::to_string(i);
          const Compiled compiled = Transpile("enum E { " + own + " }");
          const bool right = compiled.reason == Reason::kExited &&
                             compiled.program.code.find(own) != std::string::npos;
          if (!right) ++wrong[static_cast<std::size_t>(t)];
        }
      });
    }
  }
  EXPECT_EQ(wrong, std::vector<int>(kThreads, 0));
}

// Neither names nor memory of one source are there for the next: the same text gives the same
// bytes, whatever came before.
TEST_F(Typescript, NothingOfOneSourceReachesTheNext) {
  const std::vector<std::string> before{"class A { #x = 1; @d f(p: number) {} }",
                                        "let secret = 'SECRET-IN-MEMORY';",
                                        "import { a as b } from 'SECRET'; b;",
                                        "const x = ;",
                                        Repeat("(", 5000),
                                        "namespace N { export let SECRET = 1; }"};
  const std::string code =
      "const s: string = ''; enum A { X } class B { constructor(public c: A) "
      "{} } import * as z from 'z'; z;";
  const std::string first = Transpile(code).program.code;
  for (int round = 0; round < 4; ++round) {
    for (const std::string& other : before) {
      (void)Transpile(other);
      const Compiled again = Transpile(code);
      EXPECT_EQ(again.program.code, first);
      EXPECT_EQ(again.program.code.find("SECRET"), std::string::npos);
    }
  }
}

}  // namespace
}  // namespace forkbox
