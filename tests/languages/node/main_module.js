// The main module as CommonJS knows it.
console.log(require.main === module, __filename === process.argv[1], __dirname === process.cwd());
console.log(module.id, module.children.length, module.parent, module.loaded, module.paths.length > 1);
console.log(Object.keys(require.cache).length, process.mainModule === module, this === exports);
console.log(process.argv.length, process.argv.slice(2), process.exitCode, process.listenerCount('exit'));
console.log(process.pid === Number(require('fs').readlinkSync('/proc/self')), process.ppid !== process.pid);
console.log(Object.getOwnPropertyDescriptor(process, 'pid').writable, module.filename === __filename);
