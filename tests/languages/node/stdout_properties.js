// The streams as a program on pipes sees them.
for (const stream of [process.stdout, process.stderr]) {
  console.log(stream.constructor.name, stream.fd, stream.isTTY, stream.writable, stream.writableLength,
              stream.listenerCount('error'), stream._type, stream.columns);
}
process.stdout.write('text\n', 'utf8', () => console.log('written'));
console.error('to stderr');
console.table([{ a: 1 }]);
console.group('g');
console.warn('warned');
