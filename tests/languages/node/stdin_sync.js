console.log(require('fs').readFileSync(0, 'utf8').length, process.stdin.isTTY, process.stdin.fd);
