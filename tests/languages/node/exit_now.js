process.on('exit', (code) => console.log('exit', code));
console.log('a');
process.exit(3);
