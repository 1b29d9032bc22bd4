// A throw-away ES module; see script.js.
import fs from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const require = createRequire(import.meta.url);
const here = path.dirname(fileURLToPath(import.meta.url));
console.log(fs.existsSync(here), typeof require('os').EOL);
await Promise.resolve();
