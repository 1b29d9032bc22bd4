// Pipelines through zlib, Blob and web streams.
const { Readable } = require('stream');
const { pipeline } = require('stream/promises');
const zlib = require('zlib');

(async () => {
  let size = 0;
  await pipeline(
      Readable.from(Array.from({ length: 2000 }, () => 'abc'.repeat(100))),
      zlib.createGzip(), zlib.createGunzip(),
      async (source) => { for await (const chunk of source) size += chunk.length; });
  console.log(size, await new Blob(['hello']).text());
  const stream = new ReadableStream({
    start(controller) {
      controller.enqueue(new TextEncoder().encode('q'));
      controller.close();
    },
  });
  console.log(await new Response(stream).text());
})();
