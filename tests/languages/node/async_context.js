// AsyncLocalStorage follows a chain of timer, promise and tick.
const { AsyncLocalStorage } = require('async_hooks');

const storage = new AsyncLocalStorage();
storage.run(7, () => {
  setTimeout(() => {
    Promise.resolve().then(() => process.nextTick(() => console.log(storage.getStore())));
  }, 1);
});
