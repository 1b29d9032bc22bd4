let size = 0;
require('v8').getHeapSnapshot()
    .on('data', (chunk) => { size += chunk.length; })
    .on('end', () => console.log(size > 1e6));
