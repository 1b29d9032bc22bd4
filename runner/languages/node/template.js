// The Node template: warms this process up, then lets copies of it become `node main.js`.
//
//   node --no-memory-reducer --no-force-async-hooks-checks --use-largepages=silent template.js ADDON
//
// Started by the forkserver with libforkbox_node_preload.so in LD_PRELOAD. Ends at once, with one
// line on stderr, where it cannot do its work; the language then runs without a template.
//
// Without the checks: what an interrupt of a session leaves behind (session.js) would end it.
//
// What runs here is shared by every job: it must leave no listener, no timer and no open file, and
// must never draw a random number (Math.random, crypto.randomUUID and randomInt keep stocks that
// every copy would inherit).
'use strict';

const fs = require('node:fs');
const Module = require('node:module');
const path = require('node:path');
const v8 = require('node:v8');
const vm = require('node:vm');

// Not domain, inspector, repl, test, trace_events or wasi: loading them changes or slows the rest.
const kPreloaded = ['assert', 'async_hooks', 'buffer', 'child_process', 'crypto', 'events', 'fs',
  'fs/promises', 'http', 'net', 'os', 'path', 'perf_hooks', 'querystring', 'readline', 'stream',
  'stream/promises', 'string_decoder', 'timers/promises', 'tty', 'url', 'util', 'worker_threads',
  'zlib'];
const kPreloadedGlobals = ['AbortController', 'Blob', 'TextDecoder', 'TextEncoder', 'URL',
  'crypto', 'performance', 'structuredClone'];

// Functions that nobody has called yet are compiled lazily; a few rounds also get past the first
// tier's feedback allocation.
const kWarmUpRounds = 10;

const kMainScript = 'internal/main/run_main_module';

function fail(error) {
  const [reason] = String(error?.message ?? error).split('\n');
  fs.writeSync(2, `node template: ${reason}\n`);
  process.reallyExit(1);
}

// Where stock node calls Module.runMain, so that stack traces end with the same line.
function mainCallPosition() {
  const call = 'runMain(';
  const lines = process.binding('natives')[kMainScript].split('\n');
  const line = lines.findIndex((text) => text.includes(`.${call}`));
  return { line, column: line < 0 ? 0 : lines[line].indexOf(call) };
}

// A function that calls Module.runMain from there: nothing above it in the stack.
function compileRunMain() {
  const { line, column } = mainCallPosition();
  const receiver = 'Module.';
  const code = '\n'.repeat(Math.max(line, 0)) + ' '.repeat(Math.max(column - receiver.length, 0)) +
      `${receiver}runMain(process.argv[1]);`;
  const compiled = vm.compileFunction(code, ['Module', 'process'],
                                      { filename: `node:${kMainScript}` });
  return compiled.bind(undefined, Module, process);
}

// What a process learns about itself at its start, seen from the job's start.
const clocks = (() => {
  const { uptime } = process;
  const prototype = Object.getPrototypeOf(performance);
  const { now } = prototype;
  const { get: timeOrigin } = Object.getOwnPropertyDescriptor(prototype, 'timeOrigin') ??
      { get: () => performance.timeOrigin };
  let uptimeBefore = 0;
  let nowBefore = 0;
  return {
    install() {
      process.uptime = { uptime() { return uptime() - uptimeBefore; } }.uptime;
      Object.defineProperties(prototype, {
        now: {
          ...Object.getOwnPropertyDescriptor(prototype, 'now'),
          value: { now() { return now.call(this) - nowBefore; } }.now,
        },
        timeOrigin: {
          configurable: true,
          enumerable: true,
          get() { return timeOrigin.call(this) + nowBefore; },
        },
      });
    },
    restart() {
      uptimeBefore = uptime();
      nowBefore = now.call(performance);
    },
  };
})();

// The exit code of a program that ends by itself is known to JavaScript only, and only after the
// last 'exit' listener.
function reportExitCode(addon) {
  const prototype = Object.getPrototypeOf(process);
  const { emit } = prototype;
  Object.defineProperty(prototype, 'emit', {
    configurable: true,
    enumerable: false,
    writable: true,
    value: { emit(...args) {
      const heard = Reflect.apply(emit, this, args);
      if (args[0] === 'exit') addon.setExitCode(process.exitCode ?? args[1] ?? 0);
      return heard;
    } }.emit,
  });
}

const nextTurn = () => new Promise((resolve) => { setImmediate(resolve); });

// Runs throw-away programs on the very path of a job. They write: process.stdout and
// process.stderr exist from here on, as pipes.
async function warmUp(addon) {
  for (const name of kPreloaded) require(name);
  for (const name of kPreloadedGlobals) void globalThis[name];
  const runMain = compileRunMain();
  addon.captureOutput();
  for (const program of ['script.js', 'module.mjs', 'mapped.js']) {
    for (let round = 0; round < kWarmUpRounds; ++round) {
      prepare(process.pid, path.join(__dirname, 'warmup', program), [], program === 'mapped.js');
      runMain();
      await nextTurn();
      await nextTurn();
      addon.discardOutput();
      for (const file of Object.keys(Module._cache)) delete Module._cache[file];
    }
  }
  addon.restoreOutput();
  return runMain;
}

// The last words before the main script, in the child; also what nobody should find there.
function prepare(pid, fileName, args, sourceMaps) {
  Object.defineProperty(process, 'pid',
                        { configurable: true, enumerable: true, writable: false, value: pid });
  process.chdir('.');  // forgets the cached working directory
  process.argv = [process.execPath, path.resolve(fileName), ...args];
  Module._initPaths();  // reads NODE_PATH and HOME
  if (sourceMaps) process.setSourceMapsEnabled(true);
  clocks.restart();
}

function forgetTemplate() {
  process.setSourceMapsEnabled(false);
  process.execArgv = [];
  delete process.mainModule;
  for (const file of Object.keys(Module._cache)) delete Module._cache[file];
  Module._pathCache = { __proto__: null };
}

// A function that makes a copy of this process an interactive session.
function prepareSession(addon) {
  const session = require('./session.js');
  session.warmUp();
  return (channel) => session.run(addon, channel);
}

function collectGarbage() {
  v8.setFlagsFromString('--expose-gc');
  const gc = vm.runInNewContext('gc');
  v8.setFlagsFromString('--no-expose-gc');
  gc();
  gc();
}

async function main() {
  const addon = require(process.argv[2]);
  addon.checkHost(process.version);
  reportExitCode(addon);
  clocks.install();
  const runMain = await warmUp(addon);
  const runSession = prepareSession(addon);
  forgetTemplate();
  collectGarbage();
  // Neither a task of V8 nor a wake-up of the loop may be on its way when the process is copied.
  for (let turn = 0; turn < 3; ++turn) {
    addon.drainTasks();
    await nextTurn();
  }
  addon.serveForks(prepare, runMain, runSession, process.execPath);
}

main().catch(fail);
