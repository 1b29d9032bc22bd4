const { Session } = require('inspector');

const session = new Session();
session.connect();
session.post('Profiler.enable', () => {
  session.post('Profiler.start', () => {
    const end = Date.now() + 50;
    while (Date.now() < end);
    session.post('Profiler.stop', (error, result) => {
      console.log(error, result.profile.nodes.length > 1);
    });
  });
});
