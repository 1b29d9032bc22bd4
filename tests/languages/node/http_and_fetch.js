// A server, fetch, the old client, twenty connections at once.
const http = require('http');

const server = http.createServer((request, response) => {
  let body = '';
  request.on('data', (chunk) => { body += chunk; });
  request.on('end', () => {
    response.setHeader('x', 'y');
    response.end(request.method + request.url + body);
  });
});
server.listen(0, '127.0.0.1', async () => {
  const { port } = server.address();
  const url = `http://127.0.0.1:${port}`;
  const posted = await fetch(`${url}/f`, { method: 'POST', body: 'zz' });
  console.log(posted.status, posted.headers.get('x'), await posted.text());
  const got = await new Promise((resolve) => { http.get(`${url}/g`, { agent: false }, resolve); });
  console.log((await got.toArray()).join(''));
  const all = await Promise.all(
      Array.from({ length: 20 }, (_, i) => fetch(`${url}/${i}`).then((reply) => reply.text())));
  console.log(all.join());
  server.close(() => console.log('closed'));
  server.closeAllConnections();
});
