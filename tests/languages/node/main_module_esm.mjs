// An ES module as the main file.
import { readFile } from 'fs/promises';
import { createRequire } from 'module';
import { x } from './lib/module.mjs';

const text = await readFile(new URL(import.meta.url), 'utf8');
console.log(text.length > 100, x, import.meta.url.split('/').length > 3, import.meta.filename === process.argv[1]);
console.log(import.meta.dirname === process.cwd(), process.mainModule, 'mainModule' in process);
setTimeout(() => console.log('late'), 2);
console.log(createRequire(import.meta.url)('./lib/common.cjs').a, typeof require, this);
