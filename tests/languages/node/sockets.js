// Unix sockets and UDP.
const net = require('net');
const dgram = require('dgram');

const server = net.createServer((connection) => connection.end('hey')).listen('./socket', () => {
  net.connect('./socket').on('data', (data) => console.log(String(data))).on('close', () => {
    server.close();
    const socket = dgram.createSocket('udp4');
    socket.on('message', (message) => {
      console.log(String(message));
      socket.close();
    });
    socket.bind(0, '127.0.0.1', () => socket.send('udp', socket.address().port, '127.0.0.1'));
  });
});
