// Hot loops: optimised code is compiled on V8's own threads.
function fibonacci(n) {
  return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2);
}
class Plain {
  constructor(x) { this.x = x; }
  get() { return this.x; }
}
class Double extends Plain {
  get() { return this.x * 2; }
}
const n = 120;
const a = new Float64Array(n * n).fill(1.5);
const b = new Float64Array(n * n).fill(2);
const c = new Float64Array(n * n);
for (let i = 0; i < n; ++i) {
  for (let j = 0; j < n; ++j) {
    let sum = 0;
    for (let k = 0; k < n; ++k) sum += a[i * n + k] * b[k * n + j];
    c[i * n + j] = sum;
  }
}
let sum = 0;
for (let i = 0; i < 5e6; ++i) sum = (sum + (i % 2 ? new Plain(i) : new Double(i)).get()) | 0;
console.log(fibonacci(27), c[5], sum, /(a+)+b/.test('a'.repeat(18)));
