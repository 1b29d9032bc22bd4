// Compiled at once and in the background, with growing memory.
const bytes = Buffer.from(
    '0061736d0100000001070160027f7f017f030201000707010361646400000a09010700200020016a0b', 'hex');
const { add } = new WebAssembly.Instance(new WebAssembly.Module(bytes)).exports;
console.log(add(1, 2));
WebAssembly.compile(bytes)
    .then((module) => WebAssembly.instantiate(module))
    .then((instance) => {
      console.log(instance.exports.add(3, 4));
      const memory = new WebAssembly.Memory({ initial: 1, maximum: 100 });
      memory.grow(10);
      let sum = 0;
      for (let i = 0; i < 1e6; ++i) sum = add(sum, i) | 0;
      console.log(memory.buffer.byteLength, sum);
    });
