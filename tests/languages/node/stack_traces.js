// Exactly the frames of a main script, to the last.
function where() {
  return new Error('here').stack;
}
Error.stackTraceLimit = 100;
console.log(where());
setTimeout(() => {
  console.log(where());
  setImmediate(() => console.log(where()));
}, 1);
process.nextTick(() => console.log(where()));
Promise.resolve().then(() => console.log(where()));
process.on('exit', () => console.log(where().split('\n').length > 2));
try {
  require('fs').readFileSync('/nothing');
} catch (error) {
  console.log(error.message);
}
