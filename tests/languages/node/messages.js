// Channels and structured clones.
const { port1, port2 } = new MessageChannel();
port2.onmessage = (event) => {
  console.log(event.data);
  port1.close();
};
port1.postMessage(structuredClone({ a: new Map([[1, new Set([2n])]]) }));
new BroadcastChannel('x').close();
