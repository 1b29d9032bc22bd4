// Nobody catches what the main script throws.
console.log(1);
class Nested {
  run() {
    throw new TypeError('boom', { cause: new Error('below') });
  }
}
new Nested().run();
