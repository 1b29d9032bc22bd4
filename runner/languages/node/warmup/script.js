// A throw-away program: what most small programs do, so that a job finds it compiled.
'use strict';

const fs = require('fs');
const path = require('path');
const util = require('util');

class Point {
  constructor(x, y) {
    this.x = x;
    this.y = y;
  }
  get length() {
    return Math.hypot(this.x, this.y);
  }
}

const point = new Point(3, 4);
console.log(1 + 1);
console.log('%s %d %j', 'text', point.length, { point }, [1, 2, 3], new Map([[1, 'one']]), null);
console.error(new Error('an error').message, util.inspect(new Set(['a'])));
console.log([3, 1, 2].sort((a, b) => a - b).map((n) => `<${n}>`).join(), JSON.stringify(point));
fs.existsSync(path.join(__dirname, 'nothing'));
try {
  require('./nothing');
} catch (error) {
  console.log(error.code, String(error.stack).length);
}
setTimeout(() => console.log('later'), 0);
setImmediate(() => {});
process.nextTick(() => {});
(async () => {
  await Promise.resolve();
  await import('node:path');
})();
