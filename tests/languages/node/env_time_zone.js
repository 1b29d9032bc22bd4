// Time zones, by option and by environment, and another locale.
console.log(new Date(0).toLocaleString('en-US', { timeZone: 'Asia/Tokyo' }));
console.log(new Date(0).getHours());
process.env.TZ = 'America/New_York';
console.log(new Date(0).getHours(), new Intl.NumberFormat('de').format(12345.6));
console.log(Intl.DateTimeFormat().resolvedOptions().locale);
