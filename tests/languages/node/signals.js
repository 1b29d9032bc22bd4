// Handlers, also one installed by another.
const alive = setInterval(() => {}, 1000);
process.on('SIGTERM', () => {
  console.log('SIGTERM');
  process.once('SIGUSR2', (name) => {
    console.log(name);
    clearInterval(alive);
  });
  process.kill(process.pid, 'SIGUSR2');
});
setTimeout(() => process.kill(process.pid, 'SIGTERM'), 2);
