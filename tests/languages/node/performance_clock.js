// The process seems to have started a moment ago, whatever the age of the template.
console.log(process.uptime() < 5, performance.now() < 5000,
            Math.abs(Date.now() - performance.timeOrigin) < 5000, process.hrtime.bigint() > 0n);
