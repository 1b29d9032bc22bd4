// Full, minor and concurrent collections over a heap of some size; finalizers.
const v8 = require('v8');
v8.setFlagsFromString('--expose-gc');
const gc = require('vm').runInNewContext('gc');

const kept = [];
for (let round = 0; round < 10; ++round) {
  const objects = [];
  for (let i = 0; i < 50000; ++i) objects.push({ i, text: `x${i}`, list: [i] });
  if (round % 5 === 0) kept.push(objects);
}
gc();
let buffers = [];
for (let i = 0; i < 60; ++i) {
  buffers.push(Buffer.alloc(1 << 20, 1));
  if (buffers.length > 10) buffers = [];
}
gc({ type: 'minor' });
let finalized = 0;
const registry = new FinalizationRegistry(() => { ++finalized; });
(() => { for (let i = 0; i < 100; ++i) registry.register({}, i); })();
const map = new Map();
for (let i = 0; i < 200000; ++i) map.set(i, { i });
setTimeout(() => {
  gc();
  setTimeout(() => console.log(kept.length, map.size, finalized), 50);
}, 1);
