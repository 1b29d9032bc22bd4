// JavaScript as people write it: CommonJS and ES modules, files beside the program, timers,
// threads, input and the ways to fail. Every program runs in a sandbox and in the stock binary, and
// what both print is compared with what the table says.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <regex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/unique_fd.h"
#include "runner/sandbox/process_driver.h"

namespace forkbox {
namespace {

namespace fs = std::filesystem;
using std::chrono::seconds;
using std::chrono::steady_clock;

struct Program {
  const char* name;
  std::string code;
  std::vector<schema::SourceFile> files;
  std::string stdin_data;
  std::string out;
  int exit_code = 0;
  std::string err = {};  // somewhere in stderr; "" for none at all
};

struct Shown {
  int exit_code = -1;
  std::string out;
  std::string err;
};

std::string ReadAll(int fd) {
  std::string text;
  std::array<char, 65536> bytes{};
  for (ssize_t n = 0; (n = ::read(fd, bytes.data(), bytes.size())) > 0;) {
    text.append(bytes.data(), static_cast<std::size_t>(n));
  }
  return text;
}

std::string ReplaceAll(std::string text, const std::string& from, const std::string& to) {
  for (std::size_t at = text.find(from); at != std::string::npos;
       at = text.find(from, at + to.size())) {
    text.replace(at, from.size(), to);
  }
  return std::regex_replace(text, std::regex(R"(\(node:\d+\))"), "(node:PID)");
}

struct Pipe {
  Pipe() {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) return;
    read.Reset(ends[0]);
    write.Reset(ends[1]);
  }
  UniqueFd read;
  UniqueFd write;
};

void WriteFile(const fs::path& path, const std::string& text) {
  fs::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << text;
}

Shown RunStock(const Program& program) {
  std::string pattern = (fs::temp_directory_path() / "javascript_modules.XXXXXX").string();
  const std::string directory = ::mkdtemp(pattern.data());
  WriteFile(fs::path(directory) / "main.js", program.code);
  for (const auto& file : program.files) WriteFile(fs::path(directory) / file.path, file.content);
  const std::string node = FORKBOX_RUNTIME_DIR "/node-dist/bin/node";
  const char* const argv[] = {"node", "main.js", nullptr};
  const char* const envp[] = {"PATH=/usr/bin:/bin", "LANG=C.UTF-8", nullptr};
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
    const std::jthread reads([&] { shown.err = ReadAll(err.read.get()); });
    (void)!::write(in.write.get(), program.stdin_data.data(), program.stdin_data.size());
    in.write.Reset();
    shown.out = ReadAll(out.read.get());
  }
  int status = 0;
  ::waitpid(pid, &status, 0);
  shown.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  shown.out = ReplaceAll(shown.out, directory, "/box/work");
  shown.err = ReplaceAll(shown.err, directory, "/box/work");
  fs::remove_all(directory);
  return shown;
}

class JavascriptProgram : public testing::TestWithParam<Program> {
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

  static Shown RunForked(const Program& program) {
    schema::Source source;
    source.code = program.code;
    source.files = program.files;
    source.stdin_data = program.stdin_data;
    schema::Limits limits;
    limits.memory_bytes = 512ULL << 20;
    auto sandbox = driver_->Fork("javascript", limits);
    if (!sandbox) return {-1, "", sandbox.error().message};
    const schema::Outcome outcome = (*sandbox)->Run(source, {});
    return {outcome.exit_code.value_or(-1), outcome.stdout_text,
            ReplaceAll(outcome.stderr_text, "/box/work", "/box/work")};
  }

  static sandbox::ProcessDriver* driver_;
};
sandbox::ProcessDriver* JavascriptProgram::driver_ = nullptr;

TEST_P(JavascriptProgram, RunsAsInStockNode) {
  const Program& program = GetParam();
  const Shown forked = RunForked(program);
  EXPECT_EQ(forked.out, program.out) << forked.err;
  EXPECT_EQ(forked.exit_code, program.exit_code);
  EXPECT_EQ(forked.err.empty(), program.err.empty()) << forked.err;
  EXPECT_NE(forked.err.find(program.err), std::string::npos) << forked.err;
  const Shown stock = RunStock(program);
  EXPECT_EQ(stock.out, forked.out);
  EXPECT_EQ(stock.err, forked.err);
  EXPECT_EQ(stock.exit_code, forked.exit_code);
}

const std::vector<schema::SourceFile> kFiles{
    {"utils.js", "export const helper = () => 'esm';\nexport default 7;"},
    {"old.js", "exports.helper = () => 'cjs'; exports.twice = (n) => n * 2;"},
    {"only.mjs", "export const where = import.meta.filename.split('/').pop();"},
    {"only.cjs", "module.exports = { kind: typeof require };"},
    {"data.json", "{\"answer\": 42}"},
    {"lib/index.js", "module.exports = { deep: require('./deep/inner').inner };"},
    {"lib/deep/inner.js", "exports.inner = __dirname.split('/').slice(-2).join('/');"},
    {"lib/esm.mjs", "import { helper } from '../utils.js'; export const up = helper();"},
    {"node_modules/pack/package.json",
     "{\"exports\": {\"import\": \"./m.mjs\", \"require\": "
     "\"./c.cjs\"}}"},
    {"node_modules/pack/m.mjs", "export default 'imported';"},
    {"node_modules/pack/c.cjs", "module.exports = 'required';"},
};

INSTANTIATE_TEST_SUITE_P(
    Modules, JavascriptProgram,
    testing::ValuesIn(std::vector<Program>{
        {"commonjs",
         "const path = require('path'); exports.x = 1;\n"
         "console.log(module.exports.x, path.basename(__filename), require.main === module);",
         {},
         "",
         "1 main.js true\n"},
        {"es_module",
         "import path, { sep } from 'node:path'; export const x = 1;\n"
         "console.log(path.sep === sep, typeof require, import.meta.main, this);",
         {},
         "",
         "true undefined true undefined\n"},
        {"top_level_await",
         "const x = await new Promise((resolve) => setTimeout(resolve, 5, 'waited'));\n"
         "console.log(x);",
         {},
         "",
         "waited\n"},
        {"top_level_await_beside_require",
         "import { createRequire } from 'node:module';\nconst require = "
         "createRequire(import.meta.url)"
         ";\nconsole.log(await 1, require('./old').twice(2));",
         kFiles, "", "1 4\n"},
        {"dynamic_import_from_commonjs",
         "const { EOL } = require('os');\nimport('node:os').then((os) => console.log(os.EOL === "
         "EOL));"
         "\nimport('./utils.js').then((m) => console.log(m.helper(), m.default));",
         kFiles, "", "true\nesm 7\n"},
        {"require_of_an_es_module",
         "const m = require('./utils.js'); console.log(m.helper(), m.default, m.__esModule);",
         kFiles, "", "esm 7 true\n"},
        {"import_of_an_es_module",
         "import seven, { helper } from './utils.js'; console.log(helper(), seven);", kFiles, "",
         "esm 7\n"},
        {"import_of_commonjs",
         "import old, { helper } from './old.js'; console.log(helper(), old.twice(4));", kFiles, "",
         "cjs 8\n"},
        {"require_of_commonjs",
         "console.log(require('./old').helper(), require('./old.js').twice(1));", kFiles, "",
         "cjs 2\n"},
        {"mjs_and_cjs",
         "import { where } from './only.mjs'; import c from './only.cjs';\n"
         "console.log(where, c.kind);",
         kFiles, "", "only.mjs function\n"},
        {"require_of_mjs", "console.log(require('./only.mjs').where, require('./only.cjs').kind);",
         kFiles, "", "only.mjs function\n"},
        {"json_required", "console.log(require('./data.json').answer, require('./data').answer);",
         kFiles, "", "42 42\n"},
        {"json_imported",
         "import data from './data.json' with { type: 'json' }; console.log(data.answer);", kFiles,
         "", "42\n"},
        {"folders", "console.log(require('./lib').deep, require('./lib/esm.mjs').up);", kFiles, "",
         "lib/deep esm\n"},
        {"packages",
         "import p from 'pack'; import { createRequire } from 'node:module';\n"
         "console.log(p, createRequire(import.meta.url)('pack'));",
         kFiles, "", "imported required\n"},
        {"package_of_modules",
         "import { x } from './x.js'; console.log(x, typeof module);",
         {{"package.json", "{\"type\": \"module\"}"}, {"x.js", "export const x = 'x';"}},
         "",
         "x undefined\n"},
        {"circular_modules",
         "import { a } from './a.mjs'; console.log(a());",
         {{"a.mjs", "import { b } from './b.mjs'; export const a = () => b(); export let n = 3;"},
          {"b.mjs", "import { n } from './a.mjs'; export const b = () => n;"}},
         "",
         "3\n"},
        {"a_file_read_as_text",
         "import { readFileSync } from 'node:fs';\n"
         "console.log(readFileSync(new URL('./data.json', import.meta.url), 'utf8').length);",
         kFiles, "", "14\n"},
        {"missing_module_in_commonjs",
         "require('./nothing');",
         {},
         "",
         "",
         1,
         "Error: Cannot find module './nothing'\nRequire stack:\n- /box/work/main.js\n"},
        {"missing_module_in_es_module",
         "import './nothing.js';",
         {},
         "",
         "",
         1,
         "Error [ERR_MODULE_NOT_FOUND]: Cannot find module '/box/work/nothing.js' imported from "
         "/box/work/main.js\n"},
        {"missing_export", "import { gone } from './utils.js';", kFiles, "", "", 1,
         "SyntaxError: The requested module './utils.js' does not provide an export named 'gone'"},
    }),
    [](const auto& test) { return std::string(test.param.name); });

INSTANTIATE_TEST_SUITE_P(
    Everyday, JavascriptProgram,
    testing::ValuesIn(std::vector<Program>{
        // A timer of 0 is one of 1 ms. That it is over when the loop begins is not promised, and in
        // stock Node it often is not: here it is, and timers come before immediates.
        {"order_of_turns",
         "setTimeout(() => console.log('timeout'), 0); setImmediate(() => "
         "console.log('immediate'));\n"
         "process.nextTick(() => console.log('tick')); queueMicrotask(() => "
         "console.log('micro'));\n"
         "console.log('sync');\n"
         "for (const start = performance.now(); performance.now() < start + 3;) {}",
         {},
         "",
         "sync\ntick\nmicro\ntimeout\nimmediate\n"},
        {"order_of_turns_of_a_module",
         "import process from 'node:process';\n"
         "process.nextTick(() => console.log('tick')); queueMicrotask(() => "
         "console.log('micro'));\n"
         "setImmediate(() => console.log('immediate')); await null; console.log('awaited');",
         {},
         "",
         "micro\nawaited\ntick\nimmediate\n"},
        // Once in the loop, immediates are next, however short the timer.
        {"order_of_turns_after_a_read",
         "require('fs').readFile(__filename, () => {\n"
         "  setTimeout(() => console.log('timeout'), 0);\n"
         "  setImmediate(() => console.log('immediate'));\n"
         "  for (const start = performance.now(); performance.now() < start + 3;) {}\n"
         "});",
         {},
         "",
         "immediate\ntimeout\n"},
        {"order_of_turns_within_turns",
         "const say = (word) => () => console.log(word);\n"
         "setImmediate(() => {\n"
         "  setImmediate(say('next immediate'));\n"
         "  Promise.resolve().then(say('promise')).then(say('its next'));\n"
         "  process.nextTick(() => { say('tick')(); process.nextTick(say('tick of a tick')); });\n"
         "  queueMicrotask(() => process.nextTick(say('tick of a microtask')));\n"
         "});\n"
         "setImmediate(say('second immediate'));",
         {},
         "",
         "tick\ntick of a tick\npromise\nits next\ntick of a microtask\nsecond immediate\n"
         "next immediate\n"},
        {"intervals",
         "let n = 0; const t = setInterval(() => { console.log(++n); if (n == 3) clearInterval(t); "
         "}, "
         "1);",
         {},
         "",
         "1\n2\n3\n"},
        {"timers_as_promises",
         "import { setTimeout as sleep } from 'node:timers/promises';\nconsole.log(await sleep(2, "
         "'up'));",
         {},
         "",
         "up\n"},
        {"worker_threads",
         "const { Worker } = require('worker_threads');\n"
         "const w = new Worker('./worker.js', { workerData: 20 });\n"
         "w.on('message', (m) => console.log('from worker', m)).on('exit', (c) => console.log(c));",
         {{"worker.js",
           "const { parentPort, workerData } = require('worker_threads');\n"
           "parentPort.postMessage(workerData + 1);"}},
         "",
         "from worker 21\n0\n"},
        {"worker_of_a_module",
         "import { Worker } from 'node:worker_threads';\n"
         "const w = new Worker(new URL('./w.mjs', import.meta.url)); w.on('message', console.log);",
         {{"w.mjs",
           "import { parentPort } from 'node:worker_threads'; parentPort.postMessage(1);"}},
         "",
         "1\n"},
        {"stdin_at_once",
         "console.log(require('fs').readFileSync(0, 'utf8').split('\\n').length);",
         {},
         "a\nb\nc\n",
         "4\n"},
        {"stdin_by_name",
         "console.log(require('fs').readFileSync('/dev/stdin', 'utf8'));",
         {},
         "in",
         "in\n"},
        {"stdin_as_a_stream",
         "let all = ''; process.stdin.setEncoding('utf8').on('data', (d) => all += d)\n"
         "  .on('end', () => console.log(all.toUpperCase()));",
         {},
         "stream",
         "STREAM\n"},
        {"stdin_by_lines",
         "require('readline').createInterface({ input: process.stdin })\n"
         "  .on('line', (l) => console.log('<' + l + '>')).on('close', () => console.log('end'));",
         {},
         "one\ntwo",
         "<one>\n<two>\nend\n"},
        {"stdin_by_await",
         "for await (const line of (await import('node:readline')).createInterface(process.stdin)) "
         "console.log(line);",
         {},
         "x\ny\n",
         "x\ny\n"},
        {"stdin_left_alone", "console.log('done');", {}, "unread", "done\n"},
        {"no_stdin",
         "process.stdin.on('data', () => {}).on('end', () => console.log('end'));",
         {},
         "",
         "end\n"},
        {"exit_code", "process.exitCode = 3; console.log('bye');", {}, "", "bye\n", 3},
        {"exit",
         "process.on('exit', (c) => console.log('exit', c)); process.exit(4);",
         {},
         "",
         "exit 4\n",
         4},
        {"thrown",
         "function f() {\n  throw new TypeError('no');\n}\nf();",
         {},
         "",
         "",
         1,
         "/box/work/main.js:2\n  throw new TypeError('no');\n  ^\n\nTypeError: no\n    at f "
         "(/box/work/main.js:2:9)\n"},
        {"thrown_in_es_module",
         "export {};\n\nthrow new Error('no');",
         {},
         "",
         "",
         1,
         "Error: no\n    at file:///box/work/main.js:3:7\n"},
        {"thrown_later",
         "setTimeout(() => { throw 'text'; }, 1);",
         {},
         "",
         "",
         1,
         "{ throw 'text'; }, 1);\n                   ^\ntext\n"},
        {"rejected",
         "Promise.reject(new Error('nobody caught it'));",
         {},
         "",
         "",
         1,
         "Error: nobody caught it\n    at Object.<anonymous> (/box/work/main.js:1:16)\n"},
        {"never_settled",
         "await new Promise(() => {});",
         {},
         "",
         "",
         13,
         "Warning: Detected unsettled top-level await at"},
        {"syntax_error",
         "let a = ;",
         {},
         "",
         "",
         1,
         "/box/work/main.js:1\nlet a = ;\n        ^\n\nSyntaxError: Unexpected token ';'\n"},
        {"warning",
         "process.emitWarning('careful');",
         {},
         "",
         "",
         0,
         "(node:PID) Warning: careful\n"},
    }),
    [](const auto& test) { return std::string(test.param.name); });

}  // namespace
}  // namespace forkbox
