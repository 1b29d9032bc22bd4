// Warnings go to stderr with the process id, once each.
process.emitWarning('careful', { code: 'W1' });
process.emitWarning('careful', { code: 'W1' });
new Buffer(1);
