// A child that inherits the streams, and writes more than a pipe holds.
console.log('before');
const { status } = require('child_process').spawnSync(
    'sh', ['-c', 'head -c 1000000 /dev/zero | tr "\\0" "z"; echo; exit 4'], { stdio: 'inherit' });
console.log('after', status);
