// An interactive session: cells over a channel, one after the other, into one state
// (runner/execd/session_wire.h is the contract). Runs in a copy of the template.
//
// Cells are evaluated by V8's REPL mode, which only its inspector offers: a session of this process
// with itself, opened in the copy. What a cell started goes on when it is over, and what goes wrong
// there is said on stderr.
'use strict';

const { Console } = require('node:console');
const Module = require('node:module');
const net = require('node:net');
const path = require('node:path');
const util = require('node:util');

const { kImport, redeclare, translate } = require('./cell.js');

// A cell may declare any of these, for all code of this process that looks them up.
const { Array, Buffer, Error, JSON, Map, Number, Object, RangeError, String, Symbol, Uint8Array,
  process, setImmediate } = globalThis;

const kMaxFrameBytes = 16 << 20;
// Of a text that is shown or told: far more than anybody reads, and it fits into a frame whatever
// is to be escaped.
const kMaxText = 1 << 20;
const kMaxTracebackLines = 100;
const kMaxJsonValues = 50_000;
const kMaxJsonDepth = 50;
const kMaxRedeclared = 64;

const kDisplay = Symbol.for('Jupyter.display');
const kMapTrailer = /\n\/\/# sourceMappingURL=data:application\/json;base64,([\w+/=]+)\s*$/;

const cut = (text) => text.length > kMaxText ? `${text.slice(0, kMaxText)}\u2026` : text;

function inspect(value) {
  try {
    return cut(util.inspect(value));
  } catch (error) {  // of its own making
    return `[${typeof value} that cannot be shown]`;
  }
}

// --- MIME bundles ------------------------------------------------------------------------------

const isMimeType = (name) => /^[a-z]+\/[\w.+-]+$/i.test(name);

// True for an object of nothing but MIME types.
function isBundle(value) {
  if (value === null || typeof value !== 'object' || Array.isArray(value)) return false;
  const names = Object.keys(value);
  return names.length > 0 && names.every(isMimeType);
}

function checkJson(value, depth, budget) {
  if (--budget.values < 0 || depth > kMaxJsonDepth) throw new RangeError('too much JSON to display');
  if (value === null || typeof value !== 'object') return;
  for (const key of Object.keys(value)) checkJson(value[key], depth + 1, budget);
}

function bundleFrom(entries) {
  const bundle = {};
  for (const [name, value] of Object.entries(entries)) {
    if (!isMimeType(name) || value === undefined) continue;
    if (value instanceof Uint8Array) {
      bundle[name] = Buffer.from(value).toString('base64');
    } else if (typeof value === 'string') {
      bundle[name] = value;
    } else {
      bundle[name] = JSON.parse(JSON.stringify(value) ?? 'null');
      checkJson(bundle[name], 0, { values: kMaxJsonValues });
    }
  }
  return bundle;
}

// What it has to offer itself; nothing where it does not let itself be asked.
function ownDisplay(value) {
  if (value === null || !/^(object|function)$/.test(typeof value)) return undefined;
  let method;
  try {
    method = value[kDisplay];
  } catch {  // a getter, or a proxy
    return undefined;
  }
  return typeof method === 'function' ? value[kDisplay]() : undefined;
}

// As it is shown where there is nothing but text, and whatever else it has to offer.
function show(value) {
  const own = ownDisplay(value);
  if (own !== undefined) return { 'text/plain': inspect(value), ...bundleFrom(own) };
  return { 'text/plain': inspect(value) };
}

function makeDisplay(send) {
  const put = (data) => { send({ ev: 'display', data }); };
  // display(value): as a result is shown; an object of MIME types is taken at its word.
  const display = (value) => { put(isBundle(value) ? bundleFrom(value) : show(value)); };
  const kinds = { html: 'text/html', markdown: 'text/markdown', svg: 'image/svg+xml',
    png: 'image/png', jpeg: 'image/jpeg', json: 'application/json' };
  for (const [name, type] of Object.entries(kinds)) {
    display[name] = (value) => { put(bundleFrom({ [type]: value })); };
  }
  return display;
}

// --- errors ------------------------------------------------------------------------------------

// Where a text that was transpiled came from; says what it is given where that is not known.
class Origins {
  #maps = new Map();  // by name of the cell

  add(name, encoded) {
    this.#maps.set(name, encoded);
  }

  #map(name) {
    const found = this.#maps.get(name);
    if (typeof found !== 'string') return found;
    let map;
    try {
      const payload = JSON.parse(Buffer.from(found, 'base64').toString());
      map = { map: new Module.SourceMap(payload), source: payload.sourcesContent?.[0] };
    } catch { /* the transpiler's fault; positions are those of its output then */ }
    this.#maps.set(name, map);
    return map;
  }

  // Of a line and a column, both from 1.
  find(name, line, column) {
    const entry = this.#map(name)?.map.findEntry(line - 1, column - 1);
    if (entry?.originalLine === undefined) return { line, column };
    return { line: entry.originalLine + 1, column: entry.originalColumn + 1 };
  }

  source(name) {
    return this.#map(name)?.source;
  }

  translate(text) {
    if (this.#maps.size === 0) return text;
    return text.replace(/\b(cell-\d+):(\d+):(\d+)/g, (all, name, line, column) => {
      if (!this.#maps.has(name)) return all;
      const from = this.find(name, Number(line), Number(column));
      return `${name}:${from.line}:${from.column}`;
    });
  }
}

// Stacks end where ours begins, below everything else, and name the places of what was written.
function prepareStacks(origins) {
  const prepareStackTrace = (error, trace) => {
    const ours = trace.findIndex((frame) => frame.getFileName() === 'node:inspector');
    const frames = (ours < 0 ? trace : trace.slice(0, ours)).map((frame) => `\n    at ${frame}`);
    return `${Error.prototype.toString.call(error)}${origins.translate(frames.join(''))}`;
  };
  Object.defineProperty(Error, 'prepareStackTrace', { configurable: true, enumerable: false,
    writable: true, value: prepareStackTrace });
}

const textOf = (value, otherwise) => {
  try {
    return value === undefined ? otherwise : cut(String(value));
  } catch {
    return otherwise;
  }
};

function describeThrown(error) {
  if (!util.types.isNativeError(error) && !(error instanceof Error)) {
    const text = inspect(error);
    return { ename: 'Uncaught', evalue: text, traceback: [`Uncaught ${text}`] };
  }
  const lines = inspect(error).split('\n');
  let name;
  let message;
  try {
    ({ name, message } = error);
  } catch { /* its getter's fault */ }
  return {
    ename: textOf(name, 'Error'),
    evalue: textOf(message, ''),
    traceback: lines.slice(0, kMaxTracebackLines),
  };
}

// What does not parse has no stack: the place and the line instead.
function describeSyntaxError(message, name, code, line, column, origins) {
  const at = origins.find(name, line, column);
  const text = (origins.source(name) ?? code).split('\n')[at.line - 1] ?? '';
  const traceback = [`${name}:${at.line}:${at.column}`];
  if (text.length < 500) {
    const before = text.slice(0, at.column - 1).replace(/[^\t]/g, ' ');
    traceback.push(text, `${before}^`);
  }
  traceback.push(`SyntaxError: ${message}`);
  return { ename: 'SyntaxError', evalue: message, traceback };
}

// --- the inspector -----------------------------------------------------------------------------

class Evaluator {
  #inspector;
  #takerId;
  #taken;

  constructor() {
    const { Session } = require('node:inspector');  // not in the template: it would slow programs
    this.#inspector = new Session();
    this.#inspector.connect();
    const name = '__forkbox_take';
    globalThis[name] = (value) => { this.#taken = value; };
    this.#inspector.post('Runtime.evaluate', { expression: name }, (error, { result }) => {
      this.#takerId = result.objectId;
    });
    delete globalThis[name];
  }

  // The value behind the inspector's description of it.
  #value(remote) {
    if (remote.type === 'undefined') return undefined;
    const { objectId, value, unserializableValue } = remote;
    const argument = objectId !== undefined ? { objectId }
      : unserializableValue !== undefined ? { unserializableValue } : { value };
    this.#taken = undefined;
    this.#inspector.post('Runtime.callFunctionOn', { objectId: this.#takerId,
      functionDeclaration: 'function (value) { this(value); }', arguments: [argument] });
    const taken = this.#taken;
    this.#taken = undefined;
    return taken;
  }

  // done({ value }) or done({ thrown, line, column }), the latter two of what does not parse.
  evaluate(expression, done) {
    const parameters = { expression, replMode: true, awaitPromise: true, objectGroup: 'cell' };
    this.#inspector.post('Runtime.evaluate', parameters, (error, answer) => {
      if (error) return;  // terminated: there is an interrupt on its way through the loop
      const { result, exceptionDetails: details } = answer;
      const outcome = details === undefined ? { value: this.#value(result) } : {
        thrown: this.#value(details.exception ?? result),
        // Something that was never run has a script, and no stack.
        ...(details.exception?.className === 'SyntaxError' && details.scriptId !== undefined &&
            details.stackTrace === undefined
          ? { line: details.lineNumber + 1, column: details.columnNumber + 1 } : {}),
      };
      this.#inspector.post('Runtime.releaseObjectGroup', { objectGroup: 'cell' });
      done(outcome);
    });
  }
}

// --- the session -------------------------------------------------------------------------------

// As of a program in the working directory: what its imports and require() are relative to.
function makeModule() {
  const module = new Module(path.resolve('cell.js'));
  module.filename = module.id;
  module.paths = Module._nodeModulePaths(process.cwd());
  module._compile('module.exports = (specifier, options) => import(specifier, options);', module.id);
  const load = module.exports;
  module.exports = {};
  return { module, load };
}

function defineGlobals(entries) {
  for (const [name, value] of Object.entries(entries)) {
    Object.defineProperty(globalThis, name,
                          { configurable: true, enumerable: false, writable: true, value });
  }
}

// Code that was terminated has not taken its contexts off node's stack of them (async_hooks); that
// node does not look is said where the template is started. What clears the stack is an exception.
function clearContexts() {
  if (process.hasUncaughtExceptionCaptureCallback()) return;
  process.setUncaughtExceptionCaptureCallback(() => {
    process.setUncaughtExceptionCaptureCallback(null);
  });
  throw new Error('interrupted');
}

// done() when the streams have been taken by the pipes, or never will be.
function whenFlushed(streams, done) {
  const [stream, ...rest] = streams;
  if (stream === undefined) {
    done();
  } else if (stream.destroyed || stream.writableEnded || stream.writableLength === 0) {
    whenFlushed(rest, done);
  } else {
    stream.write('', () => whenFlushed(rest, done));
  }
}

// Halves of surrogate pairs, of which texts here may be made, are escaped and are no valid JSON.
const withoutHalves = (json) => json.replace(/\\(?:\\|ud[89a-f][0-9a-f]{2})/g,
                                             (escape) => escape === '\\\\' ? escape : '\\ufffd');

function frameOf(message) {
  const body = Buffer.from(withoutHalves(JSON.stringify(message)));
  if (body.length > kMaxFrameBytes) throw new RangeError('too much to show at once');
  const size = Buffer.alloc(4);
  size.writeUInt32LE(body.length);
  return Buffer.concat([size, body]);
}

class Session {
  #addon;
  #channel;
  #streams = [process.stdout, process.stderr];
  #origins = new Origins();
  #evaluator = new Evaluator();
  #received = Buffer.alloc(0);
  #count = 0;
  #cell;  // that is running

  constructor(addon, descriptor) {
    this.#addon = addon;
    process.argv = [process.execPath];
    const send = (message) => { this.#send(message); };
    const { module, load } = makeModule();
    prepareStacks(this.#origins);
    // Without the inspector's ears, which remember what was printed.
    const console = new Console({ stdout: process.stdout, stderr: process.stderr });
    defineGlobals({ console, display: makeDisplay(send), exports: module.exports, module,
      require: Module.createRequire(module.id), [kImport]: load });
    const report = (error) => {
      process.stderr.write(`Uncaught ${describeThrown(error).traceback.join('\n')}\n`);
    };
    process.on('uncaughtException', report);
    process.on('unhandledRejection', report);
    addon.watchInterrupts(descriptor, () => {
      this.#interrupt();
      clearContexts();
    });
    this.#channel = new net.Socket({ fd: descriptor, readable: true, writable: true });
    this.#channel.on('data', (bytes) => { this.#receive(bytes); });
    for (const end of ['end', 'error']) this.#channel.on(end, () => process.reallyExit(0));
    this.#send({ ev: 'ready', pid: process.pid, forks: false });
  }

  #send(message) {
    this.#channel.write(frameOf(message));
  }

  #receive(bytes) {
    this.#received = this.#received.length === 0 ? bytes : Buffer.concat([this.#received, bytes]);
    while (this.#received.length >= 4) {
      const size = this.#received.readUInt32LE(0);
      if (size > kMaxFrameBytes) process.reallyExit(1);
      if (this.#received.length < 4 + size) return;
      const { op, code } = JSON.parse(this.#received.toString('utf8', 4, 4 + size));
      this.#received = this.#received.subarray(4 + size);
      // In a turn of its own: an interrupt takes everything off the stack.
      if (op === 'run' && this.#cell === undefined) setImmediate(() => { this.#run(code); });
    }
  }

  #run(code) {
    const cell = { count: ++this.#count, name: `cell-${this.#count}`, code, redeclared: 0 };
    this.#cell = cell;
    this.#addon.armInterrupts();
    const map = kMapTrailer.exec(code);
    if (map !== null) {
      cell.code = code.slice(0, map.index);
      this.#origins.add(cell.name, map[1]);
    }
    let text;
    try {
      text = translate(cell.code);
    } catch (error) {
      const message = String(error.message).replace(/ \(\d+:\d+\)$/, '');
      this.#finish(cell, { error: describeSyntaxError(message, cell.name, cell.code,
        error.loc?.line ?? 1, (error.loc?.column ?? 0) + 1, this.#origins) });
      return;
    }
    this.#evaluate(cell, text);
  }

  #evaluate(cell, text) {
    this.#evaluator.evaluate(`${text}\n//# sourceURL=${cell.name}`, (outcome) => {
      // It was interrupted, or will be in a moment: a program that it waited for was the first to
      // be hit.
      if (cell.settled || this.#addon.interruptPending()) return;
      if (!('thrown' in outcome)) {
        this.#finish(cell, outcome);
        return;
      }
      const { thrown, line, column } = outcome;
      if (line === undefined) {
        this.#finish(cell, { error: describeThrown(thrown) });
        return;
      }
      const [, name] = /^Identifier '(.*)' has already been declared$/.exec(thrown.message) ?? [];
      const again = name === undefined || ++cell.redeclared > kMaxRedeclared ? undefined
        : redeclare(text, name);
      if (again === undefined) {
        this.#finish(cell, { error: describeSyntaxError(thrown.message, cell.name, cell.code, line,
                                                        column, this.#origins) });
      } else {
        this.#evaluate(cell, again);
      }
    });
  }

  #interrupt() {
    const cell = this.#cell;
    if (cell === undefined || cell.settled) return;
    this.#finish(cell, { error: { ename: 'KeyboardInterrupt', evalue: 'interrupted',
      traceback: ['KeyboardInterrupt: interrupted'] } });
  }

  #finish(cell, outcome) {
    const { count } = cell;
    let { error } = outcome;
    if (error === undefined && outcome.value !== undefined) {
      try {
        this.#send({ ev: 'result', count, data: show(outcome.value) });
      } catch (thrown) {  // by what shows it
        error = describeThrown(thrown);
      }
    }
    cell.settled = true;
    if (error !== undefined) this.#send({ ev: 'error', ...error });
    whenFlushed(this.#streams, () => {
      this.#cell = undefined;
      this.#send({ ev: 'done', count });
    });
  }
}

// What every session will use, used once. In the template.
function warmUp() {
  for (const code of ['import a, { b as c } from "m";\nexport const d = await import("e");', '{a: 1}',
    'function f() {}']) {
    redeclare(translate(code), 'f');
  }
  inspect({ a: [1, 'b'] });
  describeThrown(new Error('x'));
  void frameOf({ ev: 'ready' });
}

module.exports = { run: (addon, descriptor) => void new Session(addon, descriptor), warmUp };
