// Atomics.waitAsync: woken, and timed out.
const cells = new Int32Array(new SharedArrayBuffer(8));
Atomics.waitAsync(cells, 0, 0, 5000).value.then((how) => console.log(how));
Atomics.waitAsync(cells, 1, 0, 20).value.then((how) => console.log(how));
setTimeout(() => Atomics.notify(cells, 0), 2);
setTimeout(() => {}, 100);
