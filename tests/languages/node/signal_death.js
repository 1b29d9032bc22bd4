// Without a handler SIGINT ends the process.
setTimeout(() => process.kill(process.pid, 'SIGINT'), 2);
setInterval(() => {}, 1000);
