setTimeout(() => process.exit(5), 2);
setInterval(() => {}, 1000);
