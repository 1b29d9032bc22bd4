// What V8 is given for a cell of an interactive session. Its REPL mode does nearly all: top-level
// await, and a let, const or class that a later cell declares again. What it does not do is done
// here to the text, without changing where its lines are:
//
//   import a, { b as c } from 'm'   becomes   let { default: a, b: c } = await import…
//   import(m)                       loads as seen from the working directory
//   export …                        exports nothing, and declares what it declares
//   const x = …                     is a let: V8 never lets go of a const, so that no later cell
//                                   could have a variable of that name
//   var or function x, where an earlier cell has let, const or class x, and the other way round
'use strict';

const vm = require('node:vm');

// Where cells find what loads a module.
const kImport = '__forkbox_import';

// The parser that node has for itself.
const kAcorn = 'internal/deps/acorn/acorn/dist/acorn';

// A cell may declare any of these, for all code of this process that looks them up: so it does not.
const { Array, JSON, Math, Object, process } = globalThis;
const kTaken = ['Array', 'BigInt', 'Error', 'Function', 'Map', 'Math', 'Number', 'Object', 'RegExp',
  'Set', 'String', 'Symbol', 'SyntaxError', 'TypeError', 'WeakMap', 'isNaN', 'parseFloat', 'parseInt'];

const acorn = (() => {
  const own = { exports: {} };
  vm.compileFunction(process.binding('natives')[kAcorn], ['module', 'exports', ...kTaken], {
    filename: 'forkbox:acorn',
  })(own, own.exports, ...kTaken.map((name) => globalThis[name]));
  return own.exports;
})();

const parse = (code) => acorn.parse(code, {
  ecmaVersion: 'latest',
  sourceType: 'script',
  allowAwaitOutsideFunction: true,
  allowImportExportEverywhere: true,
  allowHashBang: true,
});

function walk(node, visit) {
  if (Array.isArray(node)) {
    for (const item of node) walk(item, visit);
  } else if (node !== null && typeof node === 'object' && typeof node.type === 'string') {
    visit(node);
    for (const key of Object.keys(node)) walk(node[key], visit);
  }
}

// Replaces parts of a text. A replacement has as many lines as what it stands for.
function replace(code, edits) {
  const parts = [];
  let at = 0;
  for (const { start, end, text } of edits.sort((a, b) => a.start - b.start)) {
    const missing = code.slice(start, end).split('\n').length - text.split('\n').length;
    parts.push(code.slice(at, start), text, '\n'.repeat(Math.max(missing, 0)));
    at = end;
  }
  parts.push(code.slice(at));
  return parts.join('');
}

const nameOf = (node) => node.type === 'Identifier' ? node.name : JSON.stringify(node.value);

function importText({ specifiers, source, attributes }) {
  const pairs = (attributes ?? []).map(({ key, value }) => `${nameOf(key)}: ${value.raw}`);
  const load = `await ${kImport}(${source.raw}${
    pairs.length > 0 ? `, { with: { ${pairs.join(', ')} } }` : ''})`;
  if (specifiers.length === 0) return `${load};`;
  const whole = specifiers.find(({ type }) => type === 'ImportNamespaceSpecifier');
  const named = specifiers.filter((specifier) => specifier !== whole).map((specifier) =>
    `${specifier.imported ? nameOf(specifier.imported) : 'default'}: ${specifier.local.name}`);
  if (whole === undefined) return `let { ${named.join(', ')} } = ${load};`;
  if (named.length === 0) return `let ${whole.local.name} = ${load};`;
  return `let ${whole.local.name} = ${load}, { ${named.join(', ')} } = ${whole.local.name};`;
}

function exportEdit(node) {
  const { declaration, start, end } = node;
  if (node.type === 'ExportNamedDeclaration' && declaration) {
    return { start, end: declaration.start, text: '' };
  }
  if (node.type === 'ExportDefaultDeclaration') {
    const declares = /^(Function|Class)Declaration$/.test(declaration.type);
    if (!declares) return { start, end: declaration.start, text: '' };
    if (declaration.id !== null) return { start, end: declaration.start, text: '' };
    return { start, end: declaration.start, text: 'void ' };
  }
  // export { a }, export { a } from 'm', export * from 'm'
  const load = node.source ? `await ${kImport}(${node.source.raw});` : ';';
  return { start, end, text: load };
}

// The text that is evaluated for `code`. Throws acorn's SyntaxError where V8's would only say that
// there is an import.
function translate(code) {
  let text = code;
  if (/\b(import|export|const)\b/.test(code)) {
    let tree;
    try {
      tree = parse(code);
    } catch (error) {
      if (/^[ \t]*(import\s*[\w$*{"']|export\s)/m.test(code)) throw error;
    }
    if (tree !== undefined) {
      const edits = [];
      walk(tree, (node) => {
        if (node.type === 'ImportExpression') {
          edits.push({ start: node.start, end: node.start + 'import'.length, text: kImport });
        }
      });
      for (const node of tree.body) {
        if (node.type === 'ImportDeclaration') {
          edits.push({ start: node.start, end: node.end, text: importText(node) });
        } else if (/^Export/.test(node.type)) {
          edits.push(exportEdit(node));
        }
        const declared = node.type === 'ExportNamedDeclaration' ? node.declaration : node;
        if (declared?.type === 'VariableDeclaration' && declared.kind === 'const') {
          edits.push({ start: declared.start, end: declared.start + 'const'.length, text: 'let  ' });
        }
      }
      text = replace(code, edits);
    }
  }
  // An object and not a block, as people mean it who look at one.
  if (/^\s*\{/.test(text) && !/;\s*$/.test(text)) {
    const wrapped = `(${text}\n)`;
    try {
      void new vm.Script(wrapped);
      return wrapped;
    } catch { /* a block */ }
  }
  return text;
}

const boundNames = (pattern) => {
  const names = [];
  walk(pattern, (node) => {
    if (node.type === 'Identifier') names.push(node.name);  // or one too many: harmless
  });
  return names;
};

// `text` with its declaration of `name` of the other sort, which takes the place of what an earlier
// cell declared; undefined where there is none.
function redeclare(text, name) {
  let tree;
  try {
    tree = parse(text);
  } catch {
    return undefined;
  }
  for (const node of tree.body) {
    const { start, end, id } = node;
    if (node.type === 'VariableDeclaration' &&
        node.declarations.some((declarator) => boundNames(declarator.id).includes(name))) {
      const kind = node.kind === 'var' ? 'let' : 'var';
      return replace(text, [{ start, end: start + node.kind.length, text: kind }]);
    }
    if (/^(Function|Class)Declaration$/.test(node.type) && id.name === name) {
      const kind = node.type === 'FunctionDeclaration' ? 'let' : 'var';
      return replace(text, [{ start, end: start, text: `${kind} ${name} = ` },
        { start: end, end, text: ';' }]);
    }
  }
  return undefined;
}

module.exports = { kImport, translate, redeclare };
