// A handler keeps the process alive, also when the main script itself throws.
process.on('uncaughtException', (error, origin) => console.log('caught', error.message, origin));
process.nextTick(() => console.log('tick'));
setTimeout(() => { throw new Error('later'); }, 1);
setTimeout(() => console.log('alive'), 20);
throw new Error('now');
