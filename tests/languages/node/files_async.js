// The thread pool: forty files at once, streams, directories.
const fs = require('fs');
const { mkdtemp, writeFile, readFile, readdir, rm } = require('fs/promises');
const os = require('os');
const path = require('path');

(async () => {
  const directory = await mkdtemp(path.join(os.tmpdir(), 'files-'));
  const file = path.join(directory, 'a');
  await writeFile(file, 'hello'.repeat(1000));
  console.log((await readFile(file, 'utf8')).length);
  await Promise.all(Array.from({ length: 40 }, (_, i) => writeFile(`${file}${i}`, String(i))));
  console.log((await readdir(directory)).length);
  let size = 0;
  for await (const chunk of fs.createReadStream(file, { highWaterMark: 100 })) size += chunk.length;
  console.log(size);
  await rm(directory, { recursive: true });
  console.log(fs.existsSync(directory));
})();
