const zlib = require('zlib');

const text = Buffer.alloc(1 << 20, 'abcdef ');
zlib.gzip(text, (error, packed) => {
  zlib.gunzip(packed, (failure, unpacked) => {
    console.log(error, failure, unpacked.equals(text));
    zlib.brotliCompress(text.subarray(0, 1e5), (_, small) => {
      zlib.brotliDecompress(small, (__, back) => console.log(back.length));
    });
  });
});
console.log(zlib.inflateSync(zlib.deflateSync(text)).length);
