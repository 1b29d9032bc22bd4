// Hashes, key derivation on the thread pool, key pairs, signatures, AEAD, WebCrypto.
const crypto = require('crypto');
const { promisify } = require('util');

(async () => {
  console.log(crypto.createHash('sha256').update('a').digest('hex'));
  console.log(crypto.randomBytes(8).length, crypto.randomUUID().length, crypto.randomInt(1));
  const hex = (bytes) => Buffer.from(bytes).toString('hex').slice(0, 16);
  console.log(hex(await promisify(crypto.pbkdf2)('p', 's', 10000, 32, 'sha512')));
  console.log(hex(await promisify(crypto.scrypt)('p', 's', 32)));
  console.log(hex(await crypto.webcrypto.subtle.digest('SHA-1', Buffer.from('x'))));
  const rsa = await promisify(crypto.generateKeyPair)('rsa', { modulusLength: 1024 });
  console.log(rsa.publicKey.type);
  const { privateKey, publicKey } = crypto.generateKeyPairSync('ed25519');
  const signature = crypto.sign(null, Buffer.from('m'), privateKey);
  console.log(crypto.verify(null, Buffer.from('m'), publicKey, signature));
  const [key, iv] = [crypto.randomBytes(32), crypto.randomBytes(12)];
  const cipher = crypto.createCipheriv('aes-256-gcm', key, iv);
  const sealed = Buffer.concat([cipher.update('hi'), cipher.final()]);
  const decipher = crypto.createDecipheriv('aes-256-gcm', key, iv);
  decipher.setAuthTag(cipher.getAuthTag());
  console.log(decipher.update(sealed).toString() + decipher.final().toString());
})();
