// The published JavaScript SDK of OpenSandbox, unmodified, against a server of ours:
//
//   node lifecycle_sdk.mjs SDK_DIRECTORY DOMAIN [API_KEY] [SERVER_PROXY]
//
// One line a story that held; ends with 1 and the reason at the first that did not.
import assert from "node:assert/strict";
import { pathToFileURL } from "node:url";

const [sdk, domain, apiKey, serverProxy] = process.argv.slice(2);
const root = `${sdk}/node_modules/@alibaba-group/opensandbox/dist/index.js`;
const { Sandbox, SandboxManager, SandboxApiException, ConnectionConfig } = await import(
  pathToFileURL(root).href
);

const connectionConfig = new ConnectionConfig({
  domain,
  protocol: "http",
  apiKey: apiKey || undefined,
  useServerProxy: serverProxy === "true",
});
const text = (execution) => execution.logs.stdout.map((line) => line.text).join("\n");
const held = (story) => console.log(`ok ${story}`);

const made = [];
async function create(options = {}) {
  const sandbox = await Sandbox.create({ connectionConfig, image: "python:3.11", ...options });
  made.push(sandbox);
  return sandbox;
}

async function commands() {
  const sandbox = await create({ env: { GREETING: "hello" }, timeoutSeconds: 300 });
  const run = await sandbox.commands.run("echo $GREETING; echo; echo err >&2");
  assert.equal(run.error, undefined);
  assert.deepEqual(run.logs.stdout.map((line) => line.text), ["hello", "\n"]);
  assert.equal(run.logs.stderr[0].text, "err");
  assert.equal(run.exitCode, 0);
  assert.equal((await sandbox.commands.run("exit 3")).exitCode, 3);
  const there = await sandbox.commands.run("pwd", { workingDirectory: "/tmp" });
  assert.equal(text(there), "/tmp");

  const background = await sandbox.commands.run("echo one; sleep 0.1; echo two", {
    background: true,
  });
  let status;
  do {
    status = await sandbox.commands.getCommandStatus(background.id);
  } while (status.running);
  assert.equal(status.exitCode, 0);
  const logs = await sandbox.commands.getBackgroundCommandLogs(background.id, 0);
  assert.equal(logs.content, "one\ntwo\n");
  assert.equal(logs.cursor, 8);

  const session = await sandbox.commands.createSession({ workingDirectory: "/tmp" });
  await sandbox.commands.runInSession(session, "export X=7; cd /");
  assert.equal(text(await sandbox.commands.runInSession(session, "echo $X; pwd")), "7\n/");
  assert.equal((await sandbox.commands.runInSession(session, "sh -c 'exit 7'")).exitCode, 7);
  await sandbox.commands.deleteSession(session);
  held("commands");
  return sandbox;
}

async function files(sandbox) {
  const at = "/box/work/sdk";
  await sandbox.files.createDirectories([{ path: `${at}/sub`, mode: 755 }]);
  await sandbox.files.writeFiles([
    { path: `${at}/a.txt`, data: "ä one\ntwo\nthree\n", mode: 640 },
    { path: `${at}/sub/b.bin`, data: new Uint8Array([0, 1, 2, 255]) },
  ]);
  assert.equal(await sandbox.files.readFile(`${at}/a.txt`), "ä one\ntwo\nthree\n");
  assert.deepEqual([...(await sandbox.files.readBytes(`${at}/sub/b.bin`))], [0, 1, 2, 255]);
  assert.equal(await sandbox.files.readFile(`${at}/a.txt`, { offset: 2, limit: 1 }), "two");
  assert.equal(
    Buffer.from(await sandbox.files.readBytes(`${at}/sub/b.bin`, { range: "bytes=1-2" })).toString(
      "hex",
    ),
    "0102",
  );
  const large = async function* () {
    for (let i = 0; i < 64; ++i) yield new Uint8Array(64 * 1024).fill(i);
  };
  await sandbox.files.writeFiles([{ path: `${at}/large`, data: large() }]);
  const info = await sandbox.files.getFileInfo([`${at}/a.txt`, `${at}/large`]);
  assert.equal(info[`${at}/a.txt`].mode, 640);
  assert.equal(info[`${at}/large`].size, 4 << 20);
  let read = 0;
  for await (const piece of sandbox.files.readBytesStream(`${at}/large`)) read += piece.length;
  assert.equal(read, 4 << 20);

  const found = await sandbox.files.search({ path: at, pattern: "*.txt" });
  assert.deepEqual(found.map((file) => file.path), [`${at}/a.txt`]);
  const listed = await sandbox.files.listDirectory({ path: at, depth: 2 });
  assert.deepEqual(
    listed.map((file) => file.path.slice(at.length + 1)),
    ["a.txt", "large", "sub", "sub/b.bin"],
  );
  await sandbox.files.setPermissions([{ path: `${at}/a.txt`, mode: 600 }]);
  const replaced = await sandbox.files.replaceContentsDetailed([
    { path: `${at}/a.txt`, oldContent: "t", newContent: "T" },
  ]);
  assert.equal(replaced[0].replacedCount, 2);
  await sandbox.files.moveFiles([{ src: `${at}/a.txt`, dest: `${at}/moved/a.txt` }]);
  assert.equal(await sandbox.files.readFile(`${at}/moved/a.txt`), "ä one\nTwo\nThree\n");
  await sandbox.files.deleteFiles([`${at}/moved/a.txt`]);
  await assert.rejects(sandbox.files.readFile(`${at}/moved/a.txt`));
  await sandbox.files.deleteDirectories([at]);
  await assert.rejects(sandbox.files.listDirectory({ path: at }));
  held("files");
}

async function lifecycle(sandbox) {
  const info = await sandbox.getInfo();
  assert.equal(info.id, sandbox.id);
  assert.equal(info.status.state, "Running");
  assert.equal(info.image.uri, "python:3.11");
  assert.ok(info.expiresAt > info.createdAt);
  const renewed = await sandbox.renew(900);
  assert.ok(renewed.expiresAt > info.expiresAt);
  assert.equal(await sandbox.isHealthy(), true);
  const metrics = await sandbox.getMetrics();
  assert.ok(metrics.cpuCount > 0 && metrics.memoryTotalMiB > 0);
  assert.deepEqual((await sandbox.patchMetadata({ team: "blue", run: "1" })).metadata, {
    team: "blue",
    run: "1",
  });
  assert.deepEqual((await sandbox.patchMetadata({ run: null })).metadata, { team: "blue" });
  assert.equal((await sandbox.getEgressPolicy()).defaultAction, "deny");
  const endpoint = await sandbox.getEndpoint(8080);
  assert.ok(endpoint.endpoint.endsWith("/8080"));

  const again = await Sandbox.connect({ sandboxId: sandbox.id, connectionConfig });
  await again.commands.run("echo kept > kept");
  await sandbox.pause();
  assert.equal((await sandbox.getInfo()).status.state, "Paused");
  await assert.rejects(sandbox.pause(), SandboxApiException);
  const resumed = await sandbox.resume();
  assert.equal(text(await resumed.commands.run("cat kept")), "kept");
  held("lifecycle");
}

async function manager(sandbox) {
  const other = await create({ metadata: { team: "red & green".split(" ")[0], n: "2" } });
  const manager = SandboxManager.create({ connectionConfig });
  const list = async (filter) =>
    (await manager.listSandboxInfos(filter)).items.map((item) => item.id).sort();
  assert.deepEqual(await list({ metadata: { team: "blue" } }), [sandbox.id]);
  assert.deepEqual(await list({ metadata: { team: "red", n: "2" } }), [other.id]);
  assert.deepEqual(await list({ states: ["Paused"] }), []);
  assert.ok((await list({ states: ["running"] })).includes(other.id));
  const page = await manager.listSandboxInfos({ page: 1, pageSize: 1 });
  assert.equal(page.items.length, 1);
  assert.equal(page.items[0].id, other.id);
  assert.equal(page.pagination.hasNextPage, true);
  await manager.renewSandbox(other.id, 120);
  await manager.killSandbox(other.id);
  await assert.rejects(manager.getSandboxInfo(other.id), SandboxApiException);
  await assert.rejects(manager.killSandbox(other.id), SandboxApiException);
  await assert.rejects(manager.createSnapshot(sandbox.id), SandboxApiException);
  assert.deepEqual((await manager.listSnapshots()).items, []);
  held("manager");
}

async function proxied(sandbox) {
  await sandbox.commands.run("python3 -m http.server --bind 127.0.0.1 8123 >/dev/null 2>&1", {
    background: true,
  });
  const { endpoint, headers } = await sandbox.getEndpoint(8123);
  await sandbox.files.writeFiles([{ path: "/box/work/page.txt", data: "served" }]);
  let answer;
  for (let i = 0; i < 100; ++i) {
    answer = await fetch(`http://${endpoint}/page.txt`, { headers });
    if (answer.ok) break;
    await answer.text();
    await new Promise((done) => setTimeout(done, 100));
  }
  assert.equal(await answer.text(), "served");
  const stranger = await fetch(`http://${endpoint}/page.txt`);
  assert.equal(stranger.status, 401);
  assert.ok((await stranger.json()).error);
  held("proxied");
}

async function refusals() {
  const bad = (options) => assert.rejects(create(options), SandboxApiException);
  await bad({ networkPolicy: { defaultAction: "allow" } });
  await bad({ metadata: { "opensandbox.io/x": "1" } });
  await bad({ resource: { cpu: "1", memory: "a lot" } });
  await bad({ timeoutSeconds: 30 });
  await assert.rejects(
    Sandbox.connect({ sandboxId: "none", connectionConfig }),
    (error) => error instanceof SandboxApiException && error.statusCode === 404 && Boolean(error.requestId),
  );
  held("refusals");
}

let code = 0;
try {
  const sandbox = await commands();
  await files(sandbox);
  await lifecycle(sandbox);
  await manager(sandbox);
  await proxied(sandbox);
  await refusals();
  await sandbox.kill();
  await assert.rejects(sandbox.getInfo(), SandboxApiException);
  held("kill");
} catch (error) {
  console.error(error);
  code = 1;
}
for (const sandbox of made) await sandbox.close();
process.exit(code);
