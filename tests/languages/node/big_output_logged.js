// Many small writes, more than any pipe holds.
for (let i = 0; i < 60000; ++i) console.log(`line ${i}`);
