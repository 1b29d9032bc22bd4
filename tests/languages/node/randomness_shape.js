// What is drawn has the right shape; that no two runs draw the same is another test's matter.
const crypto = require('crypto');
console.log(Math.random() < 1, crypto.randomUUID().split('-').map((part) => part.length),
            crypto.getRandomValues(new Uint8Array(4)).length);
