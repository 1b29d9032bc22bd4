const lines = require('readline').createInterface({ input: process.stdin });
(async () => {
  let count = 0;
  for await (const line of lines) count += line.length > 0 ? 1 : 0;
  console.log(count);
})();
