// Ten megabytes, then an orderly exit from the last write's callback.
const line = `${'x'.repeat(1023)}\n`;
for (let i = 0; i < 10000; ++i) process.stdout.write(line);
process.stdout.write('', () => process.exit(0));
