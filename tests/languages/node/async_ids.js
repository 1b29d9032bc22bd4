// The main script is asynchronous context 1; what it starts was triggered by it.
const hooks = require('async_hooks');

console.log(hooks.executionAsyncId(), hooks.triggerAsyncId());
setTimeout(() => console.log(hooks.triggerAsyncId()), 1);
