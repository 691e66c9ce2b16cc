// The JavaScript client as its users have it. Usage: javascript_client.mjs NODE_MODULES KUBECONFIG

import assert from "node:assert/strict";
import { mkdtempSync, writeFileSync } from "node:fs";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Writable } from "node:stream";
import { pathToFileURL } from "node:url";

const [modules, kubeconfig] = process.argv.slice(2);
const k8s = await import(pathToFileURL(join(modules, "@kubernetes/client-node/dist/index.js")));
const config = new k8s.KubeConfig();
config.loadFromFile(kubeconfig);
const core = config.makeApiClient(k8s.CoreV1Api);
const namespace = "javascript";

// Waits until `look` says something true; else tells what was seen last.
async function until(what, look) {
  let seen;
  for (const end = Date.now() + 60_000; Date.now() < end; ) {
    seen = await look();
    if (seen) return seen;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`${what}: not within a minute`);
}

async function refused(code, reason, call) {
  const error = await call().then(() => assert.fail("it was not refused"), (error) => error);
  assert.equal(error.code, code, String(error));
  assert.equal(JSON.parse(error.body).reason, reason);
}

// A stream that keeps what it is given.
function sink() {
  const chunks = [];
  const stream = new Writable({ write: (chunk, _, done) => (chunks.push(chunk), done()) });
  return { stream, text: () => Buffer.concat(chunks).toString() };
}

const media = (type) => k8s.setHeaderOptions("Content-Type", type);

assert.match((await config.makeApiClient(k8s.VersionApi).getCode()).gitVersion, /^v1\.36\./);
await core.createNamespace({ body: { metadata: { name: namespace } } });

// An informer, and objects by every verb and patch beneath its eyes.
const seen = [];
const list = () => core.listNamespacedConfigMap({ namespace, labelSelector: "mine" });
const informer = k8s.makeInformer(config, `/api/v1/namespaces/${namespace}/configmaps`, list, "mine");
for (const event of ["add", "update", "delete"]) informer.on(event, (object) => seen.push(`${event} ${object.metadata.name}`));
await informer.start();
const map = { namespace, name: "a" };
const body = { metadata: { name: "a", labels: { mine: "" } }, data: { json: "1" } };
const made = await core.createNamespacedConfigMap({ namespace, body });
await refused(409, "AlreadyExists", () => core.createNamespacedConfigMap({ namespace, body }));
await refused(404, "NotFound", () => core.readNamespacedConfigMap({ namespace, name: "b" }));
await core.patchNamespacedConfigMap({ ...map, body: [{ op: "replace", path: "/data/json", value: "2" }] });
const merged = { ...map, body: { data: { merge: "3" } } };
await core.patchNamespacedConfigMap(merged, media(k8s.PatchStrategy.MergePatch));
const strategic = { ...map, body: { data: { strategic: "4" } } };
await core.patchNamespacedConfigMap(strategic, media(k8s.PatchStrategy.StrategicMergePatch));
const applied = { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "a" }, data: { apply: "5" } };
const apply = { ...map, body: applied, fieldManager: "javascript" };
const result = await core.patchNamespacedConfigMap(apply, media(k8s.PatchStrategy.ServerSideApply));
assert.deepEqual(result.data, { json: "2", merge: "3", strategic: "4", apply: "5" });
await refused(409, "Conflict", () => core.replaceNamespacedConfigMap({ ...map, body: made }));
await core.deleteNamespacedConfigMap(map);
await until("the informer hears of the deletion", () => seen.includes("delete a"));
assert.deepEqual([seen[0], seen.filter((event) => event === "update a").length], ["add a", 4]);
await informer.stop();

// Objects of whatever kind; a custom resource as soon as it is defined.
const objects = k8s.KubernetesObjectApi.makeApiClient(config);
const secret = await objects.create({ apiVersion: "v1", kind: "Secret", metadata: { name: "s", namespace }, stringData: { a: "b" } });
assert.equal(secret.data.a, "Yg==");
await objects.create({
  apiVersion: "apiextensions.k8s.io/v1",
  kind: "CustomResourceDefinition",
  metadata: { name: "parrots.javascript.example.com" },
  spec: {
    group: "javascript.example.com",
    names: { kind: "Parrot", plural: "parrots", singular: "parrot" },
    scope: "Namespaced",
    versions: [{
      name: "v1", served: true, storage: true, subresources: { status: {} },
      schema: { openAPIV3Schema: { type: "object", properties: { spec: { type: "object", properties: { words: { type: "integer", _default: 3 } } } } } },
    }],
  },
});
const customs = config.makeApiClient(k8s.CustomObjectsApi);
const parrots = { group: "javascript.example.com", version: "v1", namespace, plural: "parrots" };
const parrot = { apiVersion: "javascript.example.com/v1", kind: "Parrot", metadata: { name: "p" }, spec: {} };
await until("a parrot", () => customs.createNamespacedCustomObject({ ...parrots, body: parrot }).catch(() => undefined));
assert.equal((await customs.getNamespacedCustomObject({ ...parrots, name: "p" })).spec.words, 3);

// A pod: its log, programs in it, files to and from it, its port.
const container = { name: "main", image: "nginx", ports: [{ containerPort: 80 }] };
await core.createNamespacedPod({ namespace, body: { metadata: { name: "web" }, spec: { containers: [container] } } });
await core.createNamespacedPod({
  namespace,
  body: { metadata: { name: "tools" }, spec: { containers: [{ name: "main", image: "busybox", command: ["sh", "-c", "echo hello; sleep 1000"] }] } },
});
for (const name of ["web", "tools"]) {
  const ready = ({ status }) => status.conditions?.some(({ type, status }) => type === "Ready" && status === "True");
  await until(`${name} is ready`, async () => ready(await core.readNamespacedPod({ namespace, name })));
}
await until("a line is in the log", async () => (await core.readNamespacedPodLog({ namespace, name: "tools" })) === "hello\n");
const followed = sink();
const log = await new k8s.Log(config).log(namespace, "tools", "main", followed.stream, { follow: true });
await until("the log is followed", () => followed.text() === "hello\n");
log.abort();

const exec = new k8s.Exec(config);
for (const [script, text, code] of [["echo out; echo err >&2", "out\nerr\n", undefined], ["exit 3", "", "3"]]) {
  const [out, err] = [sink(), sink()];
  const status = await new Promise((resolve, reject) => {
    exec.exec(namespace, "tools", "main", ["sh", "-c", script], out.stream, err.stream, null, false, resolve).catch(reject);
  });
  assert.equal(out.text() + err.text(), text);
  assert.equal(status.details?.causes?.[0]?.message, code, JSON.stringify(status));
}
const directory = mkdtempSync(join(tmpdir(), "pal-javascript-"));
writeFileSync(join(directory, "file"), "over and back");
const cp = new k8s.Cp(config);
await cp.cpToPod(namespace, "tools", "main", directory, "/tmp");
await until("the file has come", async () => {
  const out = sink();
  await new Promise((resolve, reject) => {
    exec.exec(namespace, "tools", "main", ["cat", "/tmp/file"], out.stream, null, null, false, resolve).catch(reject);
  });
  return out.text() === "over and back";
});

const forward = new k8s.PortForward(config);
const server = net.createServer((socket) => void forward.portForward(namespace, "web", [80], socket, null, socket));
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
const page = await fetch(`http://127.0.0.1:${server.address().port}/`, { headers: { connection: "close" } });
assert.equal(page.status, 200);
assert.match(await page.text(), /nginx/);
server.close();

// Figures, health, tokens, who may do what.
const metrics = new k8s.Metrics(config);
await until("figures of the node", async () => (await metrics.getNodeMetrics()).items.length === 1);
assert.equal(await new k8s.Health(config).readyz({}), true);
const account = { namespace, name: "default" };
const { status } = await core.createNamespacedServiceAccountToken({ ...account, body: { spec: { audiences: [], expirationSeconds: 600 } } });
const bearer = new k8s.KubeConfig();
const cluster = config.getCurrentCluster();
bearer.loadFromClusterAndUser(cluster, { name: "account", token: status.token });
const mine = bearer.makeApiClient(k8s.AuthenticationV1Api);
const review = await mine.createSelfSubjectReview({ body: {} });
assert.equal(review.status.userInfo.username, `system:serviceaccount:${namespace}:default`);
await refused(403, "Forbidden", () => bearer.makeApiClient(k8s.CoreV1Api).listNamespacedSecret({ namespace }));

await core.deleteNamespace({ name: namespace });
console.log("done");
process.exit(0);
