// ES module syntax in a .js file.
import fs from 'fs';

const { default: kind } = await import('./lib/module.mjs');
console.log(kind, typeof fs.readFileSync, typeof require, typeof import.meta.url);
