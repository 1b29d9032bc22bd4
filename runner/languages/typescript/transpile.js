// The transpile process: TypeScript in on stdin, JavaScript out on stdout, for as long as it lives.
// Runs in a sandbox like any program (runner/sandbox/transpiler.h is at the other end) and does
// there what its peer must not: look into text from outside.
//
// Frames, both ways: u32 size, then a body of little-endian u32 and of texts, each a u32 size and
// its bytes.
//   request   [size of the list] path, code  of every TypeScript file, the program first
//             [size of the list] path        of every other file
//             text of tsconfig.json, of package.json; "" for none
//             A program called "<cell>.ts" is a cell of an interactive session.
//   reply     status (0 transpiled, 1 refused), diagnostics,
//             [size of the list] code        of every TypeScript file, in the order of the request
//
// Nothing of one request is there in the next: swc's memory is put back to what it was before the
// first one, every time.
'use strict';

const fs = require('node:fs');
const { SourceMap } = require('node:module');
const path = require('node:path').posix;
const vm = require('node:vm');

const kSwc = '/opt/swc';
const kTarget = 'esnext';
const kCell = '<cell>.ts';  // what a cell of a session is called; no program can be
const kLineEnd = /\r\n|[\n\r\u2028\u2029]/;
const kMaxDiagnostics = 20;
const kMaxLineShown = 160;
// Of swc's own memory. More than that is given back by starting swc again.
const kMaxMemoryKept = 64 << 20;
const kWarmUpRounds = 5;

// --- swc -------------------------------------------------------------------------------------

// The glue that comes with swc's WebAssembly keeps its state in variables of its file. It is
// evaluated here without its last lines, which load one instance for ever, and with a few more,
// which make and restore instances.
function loadSwc(practice) {
  const wasm = new WebAssembly.Module(fs.readFileSync(`${kSwc}/wasm_bg.wasm`));
  const file = fs.readFileSync(`${kSwc}/wasm.js`, 'utf8');
  const glue = file.slice(0, file.indexOf("const path = require('path')"));
  const control = `
    const atStart = heap.slice();
    return {
      instantiate(compiled) {
        wasm = new WebAssembly.Instance(compiled, imports).exports;
        cachedUint8ArrayMemory0 = cachedDataViewMemory0 = null;
        this.setObjects({ objects: atStart, next: atStart.length });
        return wasm;
      },
      objects() { return { objects: heap.slice(), next: heap_next }; },
      setObjects({ objects, next }) {
        heap.splice(0, heap.length, ...objects);
        heap_next = next;
      },
    };`;
  const own = { exports: {} };
  const glued = vm.compileFunction(glue + control, ['module', 'require'])(own, require);
  let instance;
  let objectsAtStart;
  let memoryAtStart;
  let stackAtStart;
  return {
    transform: own.exports.transformSync,
    parse: own.exports.parseSync,
    // `practice` is what it does before it remembers its state: a first time costs much more.
    start() {
      instance = glued.instantiate(wasm);
      stackAtStart = instance.__wbindgen_add_to_stack_pointer(0);
      practice();
      objectsAtStart = glued.objects();
      memoryAtStart = new Uint8Array(instance.memory.buffer).slice();
    },
    restore() {
      if (instance.memory.buffer.byteLength > kMaxMemoryKept) return this.start();
      const memory = new Uint8Array(instance.memory.buffer);
      memory.set(memoryAtStart);
      memory.fill(0, memoryAtStart.length);
      const stack = instance.__wbindgen_add_to_stack_pointer(0);
      instance.__wbindgen_add_to_stack_pointer(stackAtStart - stack);
      glued.setObjects(objectsAtStart);
    },
  };
}

const swc = loadSwc(practise);

const kPractice = `
  enum A { X, Y = 'y' } const enum B { Z = 1 } namespace N { export const n: number = 1; }
  abstract class C<T> { constructor(private readonly t: T, protected u?: A) {} abstract f(): T; }
  interface I { a: string; b?: number[] } type U = I | Record<string, unknown>;
  @d class D extends C<number> { #p = 1; @d f() { return this.#p ?? B.Z; } static s = 's'; }
  export async function g<T extends I>(x: T, ...rest: U[]): Promise<string> {
    for (const r of rest) { if (typeof r === 'object') continue; }
    try { await Promise.all(rest.map(async (r) => \`\${r}\`)); } catch (e) { throw e as Error; }
    return x!.a satisfies string;
  }
  import * as fs from 'fs'; import { join } from 'path'; console.log(fs, join);
  function d(...a: any[]): any {} export default A;`;

function practise() {
  for (const [name, code] of [['a.ts', kPractice], ['b.mts', kPractice],
    ['c.tsx', 'let x: any = <a b={1}>c</a>'], ['d.ts', 'let x: = 1'], [kCell, kPractice]]) {
    answer({ files: [sourceFile(name, code)], others: [], tsconfig: '', packageJson: '' });
  }
}

// --- diagnostics -----------------------------------------------------------------------------

function isWide(character) {
  return /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60]/
    .test(character) || character.codePointAt(0) >= 0x1f300;
}

// The column of a line (from 1, in UTF-16 units) that is shown `cells` cells from its start.
function columnAt(line, cells) {
  let shown = 0;
  let column = 1;
  for (const character of line) {
    if (shown >= cells) break;
    if (character === '\t') shown += 4 - shown % 4;
    else shown += isWide(character) ? 2 : 1;
    column += character.length;
  }
  return column;
}

// "main.ts:3:7: error: …" and the line it is about, or a window of it, with a mark.
function describe(file, line, column, message) {
  const text = file.lines()[line - 1];
  const head = `${file.path}:${line}:${column}: error: ${message}`;
  if (text === undefined) return head;
  const from = column > kMaxLineShown ? column - (kMaxLineShown >> 1) : 0;
  const shown = text.slice(from, from + kMaxLineShown).replace(/[^\P{Cc}\t]/gu, '\ufffd');
  const before = shown.slice(0, Math.max(column - 1 - from, 0)).replace(/[^\t]/g, ' ');
  const number = String(line).padStart(5);
  return `${head}\n${number} | ${shown}\n${' '.repeat(5)} | ${before}^`;
}

// swc draws its errors:
//     x Expression expected
//      ,-[main.ts:2:1]
//    1 | let x = 1;
//    2 | let y = ;
//      :         ^
// The number behind the name is the line; the column is only in the drawing.
function readDrawing(file, drawing) {
  const found = [];
  for (const block of drawing.split(/^ {2}x /m).slice(1, kMaxDiagnostics + 1)) {
    const lines = block.split('\n');
    const header = lines.findIndex((text) => /^ *,-\[.*:\d+:\d+\]$/.test(text));
    const message = lines.slice(0, header < 0 ? 1 : header)
      .map((text) => text.replace(/^ *\| ?/, '').trim()).join(' ').trim();
    if (header < 0) {
      found.push(`${file.path}: error: ${message}`);
      continue;
    }
    let line = Number(/:(\d+):\d+\]$/.exec(lines[header])[1]);
    const mark = lines.slice(header + 1).find((text) => /^ *: *[\^|]/.test(text));
    const cells = mark === undefined ? 0 : mark.search(/[\^|]/) - mark.indexOf(':') - 2;
    if (mark === undefined && /\beof\b/i.test(message)) {
      const end = file.code.trimEnd().split(kLineEnd);  // there is nothing to mark
      line = end.length;
      found.push(describe(file, line, end[line - 1].length + 1, message));
      continue;
    }
    const text = file.lines()[line - 1] ?? '';
    found.push(describe(file, line, columnAt(text, cells), message));
  }
  return found.length > 0 ? found : [`${file.path}: error: not understood`];
}

// V8's words about generated code, where it came from.
function readSyntaxError(file, code, map, error) {
  const [place, , mark] = String(error.stack).split('\n');
  const line = Number(/:(\d+)$/.exec(place)?.[1] ?? 1);
  const entry = new SourceMap(JSON.parse(map))
    .findEntry(line - 1, Math.max((mark ?? '').indexOf('^'), 0));
  if (entry.originalLine === undefined) return `${file.path}: error: ${error.message}`;
  return describe(file, entry.originalLine + 1, entry.originalColumn + 1, error.message);
}

// --- CommonJS or ES modules -------------------------------------------------------------------

const kCommonJs = ['exports', 'require', 'module', '__filename', '__dirname'];

// What the parser has against the code, without running any of it.
function syntaxError(parse) {
  try {
    parse();
  } catch (error) {
    return error;
  }
  return undefined;
}

const commonJsError = (code) =>
  syntaxError(() => vm.compileFunction(code, kCommonJs, { filename: 'main.js' }));

// True for code that only an ES module can be: it awaits outside of functions, or asks for
// import.meta.
function needsModules(code) {
  if (!/\bawait\b|\bimport\s*\.\s*meta\b/.test(code)) return false;
  const error = commonJsError(code);
  if (/import\.meta|await is only valid/.test(error?.message ?? '')) return true;
  if (error !== undefined) {  // of a `for await` it says less
    return syntaxError(() => new vm.Script(`async () => {${code}\n}`)) === undefined;
  }
  // `await (x)` is a call of a function in a script. Here it is always an error.
  return syntaxError(() => new vm.Script(`class C { static {${code}\n} }`)) !== undefined;
}

// --- names of modules ---------------------------------------------------------------------------

// As transpiler.cc places them.
const emittedName = (name) => name.replace(/\.([mc]?)tsx?$/, '.$1js');

const kSuffixes = ['.js', '.mjs', '.cjs', '.json', '/index.js', '/index.mjs', '/index.cjs'];

// Node finds './utils' and './lib' for require() and not for import. What to say instead;
// undefined where nothing need be changed.
function completed(from, specifier, names) {
  if (!/^\.{1,2}(\/|$)/.test(specifier)) return undefined;
  const target = path.join(path.dirname(from), specifier).replace(/\/$/, '');
  if (names.has(target)) return undefined;
  const base = specifier.replace(/\/$/, '');
  for (const suffix of kSuffixes) {
    if (names.has((target === '.' ? suffix.slice(1) : target + suffix))) return base + suffix;
  }
  return undefined;
}

// The specifiers of imports and exports anywhere in a tree, and what may have to follow them.
function specifiersIn(node, found) {
  if (Array.isArray(node)) {
    for (const item of node) specifiersIn(item, found);
  } else if (node !== null && typeof node === 'object') {
    if (/^(Import|ExportNamed|ExportAll)Declaration$/.test(node.type) && node.source) {
      const attribute = node.with || node.typeOnly ? '' : ' with { type: "json" }';
      found.push({ ...node.source, attribute });
    } else if (node.type === 'CallExpression' && node.callee.type === 'Import' &&
               node.arguments[0]?.expression.type === 'StringLiteral') {
      const attribute = node.arguments.length > 1 ? '' : ', { with: { type: "json" } }';
      found.push({ ...node.arguments[0].expression, attribute });
    }
    for (const key of Object.keys(node)) specifiersIn(node[key], found);
  }
}

// The source with its imports as Node wants them of an ES module: the names complete, JSON said to
// be JSON.
function completeSpecifiers(file, parser, names) {
  const better = (specifier, attribute) => {
    const name = completed(file.path, specifier, names) ?? specifier;
    return /^\.{1,2}\/.*\.json$/.test(name) ? [name, attribute] : [name, ''];
  };
  const quoted = [...file.code.matchAll(/(["'])(\.{1,2}(?:\/[^"'\n]*)?)\1/g)];
  if (!quoted.some(([, , name]) => better(name, name).join('') !== name)) return file.code;
  const found = [];
  // Positions are bytes, counted on over all that swc has parsed; a first statement of ours tells
  // from where.
  const mark = '0;';
  const { body } = swc.parse(mark + file.code, { ...parser, target: kTarget });
  const start = body[0].span.start + mark.length;
  specifiersIn(body, found);
  const bytes = Buffer.from(file.code);
  const parts = [];
  let at = 0;
  for (const { value, span, attribute } of found.sort((x, y) => x.span.start - y.span.start)) {
    const [name, suffix] = better(value, attribute);
    parts.push(bytes.subarray(at, span.start - start), Buffer.from(JSON.stringify(name) + suffix));
    at = span.end - start;
  }
  parts.push(bytes.subarray(at));
  return Buffer.concat(parts).toString();
}

// --- a program ----------------------------------------------------------------------------------

// The few options of a tsconfig.json that change what code does. It may hold comments and trailing
// commas; none of these names means anything else in it.
function readOptions(text, files) {
  const option = (name, value) =>
    new RegExp(`"${name}"\\s*:\\s*"?(${value})\\b`).exec(text)?.[1];
  const flag = (name, otherwise) => ({ true: true, false: false })[option(name, 'true|false')] ??
      otherwise;
  // Programs rarely say which decorators they mean, and those without any need swc's pass for the
  // standard ones: it is what knows `accessor`.
  const some = (pattern) => files.some(({ code }) => pattern.test(code));
  const legacy = some(/@\s*[\w$(]/) &&
      flag('experimentalDecorators', !some(/\b(Class\w*)?DecoratorContext\b/));
  const automatic = /^react-jsx/.test(option('jsx', '[a-z-]+') ?? '');
  const name = '[\\w$.@/-]+';
  return {
    legacyDecorator: legacy,
    ...(legacy ? { decoratorMetadata: flag('emitDecoratorMetadata', true) }
      : { decoratorVersion: '2022-03' }),
    useDefineForClassFields: flag('useDefineForClassFields', false),
    react: automatic ? { runtime: 'automatic', importSource: option('jsxImportSource', name) }
      : { runtime: 'classic', pragma: option('jsxFactory', name),
        pragmaFrag: option('jsxFragmentFactory', name) },
  };
}

function isModulePackage(text) {
  try {
    return JSON.parse(text).type === 'module';
  } catch {
    return false;
  }
}

class Refused extends Error {
  constructor(diagnostics) {
    super('refused');
    this.diagnostics = diagnostics;
  }
}

// What was thrown on the way, as it is told.
function refusal(file, error) {
  if (error instanceof Refused) return error;
  if (typeof error === 'string') return new Refused(readDrawing(file, error));
  swc.start();  // it trapped: its stack and memory are in any state
  // swc's drawing gives up on lines that are longer than it can count.
  return new Refused([`${file.path}: error: ${
    file.lines().some((line) => line.length > 0xffff)
      ? 'a mistake, in a line too long to show it'
      : 'too deeply nested or too large to transpile'}`]);
}

function transpileFile(file, modules, transform, names) {
  const esm = /\.mts$/.test(file.path) || (modules && !/\.cts$/.test(file.path));
  const parser = { syntax: 'typescript', tsx: /\.tsx$/.test(file.path), decorators: true };
  const source = esm ? completeSpecifiers(file, parser, names) : file.code;
  const { code, map } = swc.transform(source, {
    filename: file.path,
    sourceFileName: path.basename(file.path),
    sourceMaps: true,
    inlineSourcesContent: true,
    isModule: true,
    swcrc: false,
    configFile: false,
    jsc: { parser, transform, target: kTarget, keepClassNames: true,
      rewriteRelativeImportExtensions: true, experimental: { keepImportAttributes: true } },
    module: { type: esm ? 'nodenext' : 'commonjs' },
  });
  if (!esm) {
    if (needsModules(code)) return { needsModules: true };
    const error = commonJsError(code);
    // What V8 cannot take for its depth is left to the program's own run.
    if (error instanceof SyntaxError) {
      throw new Refused([readSyntaxError(file, code, map, error)]);
    }
  }
  const trailer = `\n//# sourceMappingURL=data:application/json;base64,${
    Buffer.from(map).toString('base64')}\n`;
  // Without an import or export left, only this says that it is one.
  return { code: code + (esm ? '\nexport {};' : '') + trailer };
}

function transpileFiles(request, modules) {
  const transform = readOptions(request.tsconfig, request.files);
  const names = new Set([...request.files.map((file) => emittedName(file.path)),
    ...request.others]);
  const diagnostics = [];
  const codes = [];
  for (const file of request.files) {
    try {
      const result = transpileFile(file, modules, transform, names);
      if (result.needsModules) return undefined;
      codes.push(result.code);
    } catch (error) {
      diagnostics.push(...refusal(file, error).diagnostics);
    }
    if (diagnostics.length >= kMaxDiagnostics) break;
  }
  if (diagnostics.length > 0) throw new Refused(diagnostics.slice(0, kMaxDiagnostics));
  return codes;
}

// A cell of an interactive session: a script whose imports and exports stay what they are, since
// what it declares or imports may be for a later cell (languages/node/cell.js).
function transpileCell(file) {
  // An object and not a block, as people mean it who look at one.
  if (/^\s*\{/.test(file.code) && !/;\s*$/.test(file.code)) {
    try {
      return transformCell(file, `(${file.code}\n)`);
    } catch (error) {  // a block
      if (typeof error !== 'string') throw error;
    }
  }
  return transformCell(file, file.code);
}

function transformCell(file, text) {
  const { code, map } = swc.transform(text, {
    filename: file.path,
    sourceFileName: file.path,
    sourceMaps: true,
    inlineSourcesContent: true,
    isModule: true,
    swcrc: false,
    configFile: false,
    jsc: { parser: { syntax: 'typescript', decorators: true },
      transform: { ...readOptions('', [file]), verbatimModuleSyntax: true, tsEnumIsMutable: true },
      target: kTarget, keepClassNames: true, experimental: { keepImportAttributes: true } },
  });
  return `${code}\n//# sourceMappingURL=data:application/json;base64,${
    Buffer.from(map).toString('base64')}\n`;
}

function transpile(request) {
  if (request.files[0].path === kCell) {
    try {
      return { status: 0, diagnostics: '', codes: [transpileCell(request.files[0])] };
    } catch (error) {
      throw refusal(request.files[0], error);
    }
  }
  const modules = request.others.some((name) => name.endsWith('.mjs')) ||
      request.files.some((file) => file.path.endsWith('.mts')) ||
      isModulePackage(request.packageJson);
  // One file that can only be an ES module makes them all ES modules.
  const codes = transpileFiles(request, modules) ?? transpileFiles(request, true);
  return { status: 0, diagnostics: '', codes };
}

// --- frames -------------------------------------------------------------------------------------

const sleeper = new Int32Array(new SharedArrayBuffer(4));

// Calls again what found a non-blocking descriptor busy.
function insist(call) {
  for (;;) {
    try {
      return call();
    } catch (error) {
      if (error.code !== 'EAGAIN') throw error;
      Atomics.wait(sleeper, 0, 0, 1);
    }
  }
}

function readExactly(size) {
  const bytes = Buffer.allocUnsafe(size);
  for (let at = 0; at < size;) {
    const got = insist(() => fs.readSync(0, bytes, at, size - at, null));
    if (got === 0) process.exit(0);
    at += got;
  }
  return bytes;
}

function writeWhole(parts) {
  const bytes = Buffer.concat(parts);
  for (let at = 0; at < bytes.length;) {
    at += insist(() => fs.writeSync(1, bytes, at, bytes.length - at));
  }
}

function sourceFile(name, code) {
  let lines;
  return { path: name, code, lines: () => lines ??= code.split(kLineEnd) };
}

function readRequest() {
  const body = readExactly(readExactly(4).readUInt32LE());
  let at = 0;
  const number = () => body.readUInt32LE((at += 4) - 4);
  const text = () => {
    const size = number();
    return body.toString('utf8', at, at += size);
  };
  const list = (item) => Array.from({ length: number() }, item);
  const file = () => sourceFile(text(), text().replace(/^\ufeff/, ''));
  return { files: list(file), others: list(text), tsconfig: text(), packageJson: text() };
}

function writeReply({ status, diagnostics, codes }) {
  const number = (value) => {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32LE(value);
    return bytes;
  };
  const text = (value) => {
    const bytes = Buffer.from(value);
    return [number(bytes.length), bytes];
  };
  const parts = [number(status), ...text(diagnostics), number(codes.length), ...codes.flatMap(text)];
  writeWhole([number(parts.reduce((sum, part) => sum + part.length, 0)), ...parts]);
}

function answer(request) {
  try {
    return transpile(request);
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    return { status: 1, diagnostics: `${error.diagnostics.join('\n')}\n`, codes: [] };
  }
}

console.error = () => {};  // swc's panics; nobody reads it
swc.start();
// Its code is compiled, and compiled well, once it has been used a little.
for (let round = 0; round < kWarmUpRounds; ++round) {
  practise();
  swc.restore();
}
writeReply({ status: 0, diagnostics: '', codes: [] });  // ready

(function serve() {
  writeReply(answer(readRequest()));
  swc.restore();
  setImmediate(serve);  // V8's own tasks get their turn
})();
