// Nothing of the template is to be seen.
console.log(Object.getOwnPropertyNames(globalThis).sort().join());
console.log(Object.getOwnPropertyNames(process).sort().join());
process.stderr.write('');
console.log(typeof gc, process.execArgv, process.listenerCount('exit'),
            process.eventNames(), process._getActiveHandles().length, process.getActiveResourcesInfo());
