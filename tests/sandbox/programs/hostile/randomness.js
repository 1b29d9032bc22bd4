const crypto = require('crypto');
console.log('Math.random =', Math.random());
console.log('randomBytes =', crypto.randomBytes(8).toString('hex'));
console.log('randomUUID =', crypto.randomUUID());
console.log('getRandomValues =', crypto.getRandomValues(new Uint32Array(2)).join());
console.log('randomInt =', crypto.randomInt(2 ** 47));
console.log('generateKey =', crypto.generateKeyPairSync('ed25519').publicKey.export({ type: 'spki', format: 'der' }).toString('hex'));
