// import() from CommonJS, top-level await in what it imports, data: URLs, what is not there.
(async () => {
  console.log(typeof (await import('os')).default.cpus);
  const namespace = await import('./lib/module.mjs');
  console.log(namespace.default, namespace.x, await namespace.later);
  console.log(require('./lib/common.cjs').a, require('./lib/data.json'));
  console.log(require('./lib/module_sync.mjs').default);
  console.log((await import('data:text/javascript,export default 42')).default);
  for (const load of [() => import('/nothing.mjs'), async () => require('./nothing')]) {
    await load().catch((error) => console.log(error.code));
  }
})();
