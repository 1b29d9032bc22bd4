// Promises, their combinators, async generators and promised timers.
const { setTimeout: sleep } = require('timers/promises');

async function* numbers() {
  yield 1;
  await sleep(1);
  yield 2;
}

(async () => {
  await sleep(2);
  console.log(await Promise.all([1, 2, 3].map(async (n) => (await sleep(n), n * 2))));
  for await (const n of numbers()) console.log(n);
  console.log((await Promise.allSettled([Promise.reject(new Error('x')), 1])).map((r) => r.status));
  try {
    await Promise.any([Promise.reject(new Error('y'))]);
  } catch (error) {
    console.log(error.constructor.name);
  }
})();
