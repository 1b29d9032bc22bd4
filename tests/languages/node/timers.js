// The order of a first turn of the loop, and intervals that keep time (timers are rounded to
// milliseconds, so stock Node may be one early by Date.now()).
const order = [];
setImmediate(() => order.push('immediate'));
setTimeout(() => order.push('timeout 0'), 0);
setTimeout(() => order.push('timeout 10'), 10);
process.nextTick(() => order.push('tick'));
Promise.resolve().then(() => order.push('promise'));
queueMicrotask(() => order.push('microtask'));
let ticks = 0;
const interval = setInterval(() => {
  if (++ticks === 3) clearInterval(interval);
}, 10);
const start = Date.now();
setTimeout(() => {
  const elapsed = Date.now() - start;
  console.log(order.slice(0, 3), order.slice(3).sort(), ticks, elapsed >= 95, elapsed < 5000);
}, 100);
