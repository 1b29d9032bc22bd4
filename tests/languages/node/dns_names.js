// The resolver: localhost by getaddrinfo, and a name that does not exist.
const dns = require('dns');

dns.lookup('localhost', (error) => console.log(error ? error.code : 'found'));
dns.promises.lookup('name.invalid').then(() => console.log('found'), () => console.log('refused'));
