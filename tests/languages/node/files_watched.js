// inotify.
const fs = require('fs');

fs.writeFileSync('watched', 'a');
const watcher = fs.watch('watched', (event) => {
  console.log(event);
  watcher.close();
  fs.unlinkSync('watched');
});
setTimeout(() => fs.writeFileSync('watched', 'b'), 10);
