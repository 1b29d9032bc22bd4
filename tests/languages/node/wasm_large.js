// A module of some size: many functions, compiled by several threads, tiered up while it runs.
const leb = (n) => (n < 128 ? [n] : [(n & 127) | 128, ...leb(n >> 7)]);
const section = (id, content) => [id, ...leb(content.length), ...content];
const count = 3000;
const body = [0, 0x20, 0, ...Array.from({ length: 60 }, () => [0x41, 3, 0x6a]).flat(), 0x0b];
const bytes = Uint8Array.from([
  0, 0x61, 0x73, 0x6d, 1, 0, 0, 0,
  ...section(1, [1, 0x60, 1, 0x7f, 1, 0x7f]),
  ...section(3, [...leb(count), ...new Array(count).fill(0)]),
  ...section(7, [1, 1, 0x66, 0, ...leb(count - 1)]),
  ...section(10, [...leb(count),
                  ...Array.from({ length: count }, () => [...leb(body.length), ...body]).flat()]),
]);
WebAssembly.instantiate(bytes).then(({ instance }) => {
  let sum = 0;
  for (let i = 0; i < 300000; ++i) sum = (sum + instance.exports.f(i)) | 0;
  console.log(sum);
});
