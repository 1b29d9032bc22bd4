const vm = require('vm');

try {
  vm.runInNewContext('while (true);', {}, { timeout: 20 });
} catch (error) {
  console.log(error.code);
}
console.log(vm.runInNewContext('a + 1', { a: 2 }), vm.isContext(vm.createContext({})));
