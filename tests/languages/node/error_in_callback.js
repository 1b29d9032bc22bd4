// Nobody catches what a timer throws: the stack ends in node:internal/timers.
function touch() {
  null.x;
}
setTimeout(touch, 1);
setInterval(() => {}, 100);
