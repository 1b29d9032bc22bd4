// beforeExit may start new work; an exit listener has the last word on the code.
let again = true;
process.on('beforeExit', (code) => {
  console.log('beforeExit', code);
  if (again) setTimeout(() => console.log('again'), 1);
  again = false;
});
process.on('exit', (code) => {
  console.log('exit', code);
  process.exitCode = 9;
});
console.log('main');
