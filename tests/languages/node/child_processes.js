// Shells, streams to and from them, signals, and fork() with its message channel.
const { execSync, spawn, exec, fork, spawnSync } = require('child_process');

console.log(execSync('echo hi').toString().trim());
const shell = spawn('sh', ['-c', 'cat; echo err >&2; exit 7']);
let heard = '';
shell.stdout.on('data', (chunk) => { heard += chunk; });
shell.stderr.on('data', (chunk) => { heard += chunk; });
shell.stdin.end('in\n');
shell.on('close', (code, signal) => {
  console.log(heard.split('\n').sort(), code, signal);
  exec('kill -9 $$', (error) => {
    console.log(error.signal);
    const child = fork('./lib/echo.js');
    child.on('message', (message) => {
      console.log('message', message);
      child.disconnect();
    });
    child.on('exit', (status) => console.log('exit', status, spawnSync('false').status));
    child.send({ a: 1 });
  });
});
