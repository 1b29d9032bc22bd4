// Worker threads: messages, shared memory, several at once, termination.
const { Worker, isMainThread } = require('worker_threads');

const start = (code, options) => new Worker(
    `const { parentPort, workerData } = require('worker_threads'); ${code}`,
    { eval: true, ...options });
const ended = (worker) => new Promise((resolve) => { worker.on('exit', resolve); });

(async () => {
  const first = start(`
    let sum = 0;
    for (let i = 0; i < 1e6; ++i) sum += i % 7;
    const objects = [];
    for (let i = 0; i < 1e5; ++i) objects.push({ i });
    parentPort.postMessage({ sum, length: objects.length, pid: process.pid > 0 });`);
  first.on('message', (message) => console.log(message));
  console.log(isMainThread, await ended(first));
  await ended(start("console.log('from a worker'); console.error('and its stderr')"));
  const shared = new Int32Array(new SharedArrayBuffer(4));
  const adders = [1, 2, 3].map(() => start(
      'for (let i = 0; i < 1000; ++i) Atomics.add(workerData, 0, 1);', { workerData: shared }));
  await Promise.all(adders.map(ended));
  console.log(shared[0]);
  const endless = start('while (true);');
  endless.on('online', () => setTimeout(() => endless.terminate(), 20));
  console.log(await ended(endless));
  const failing = start("throw new Error('in the worker')");
  failing.on('error', (error) => console.log(error.message));
  console.log(await ended(failing));
})();
