// Drives the unmodified nacos SDK 2.x for Node (HTTP, UDP push). Protocol: ../README.md.
'use strict';

const os = require('os');
const readline = require('readline');

// The SDK names the address of the first network card as the one to push to. This machine is
// presented to it as one that has only loopback, so that no packet of the tests leaves it.
const loopback = { address: '127.0.0.1', netmask: '255.0.0.0', family: 'IPv4', mac: '00:00:00:00:00:00', internal: true };
os.networkInterfaces = () => ({ eth0: [loopback] });

const { NacosNamingClient } = require('nacos');

const quiet = { info() {}, debug() {}, warn: console.error, error: console.error };
const [server, namespace] = process.argv.slice(2);
const client = new NacosNamingClient({ logger: quiet, serverList: server, ...(namespace ? { namespace } : {}) });
client.on('error', error => console.error(error));

class Unsupported extends Error {}

const say = message => console.log('@@ ' + JSON.stringify(message));
const text = hosts => hosts.map(h => `${h.ip}:${h.port}=${h.healthy}`).sort();
const group = c => c.group || undefined;
const clusters = c => (c.clusters || []).join(',');
const listeners = new Map();

const instance = c => ({
  ip: c.ip,
  port: c.port,
  ...(c.cluster ? { clusterName: c.cluster } : {}),
  ...(c.weight === undefined ? {} : { weight: c.weight }),
  ephemeral: c.ephemeral !== false,
  metadata: c.metadata || {},
});

const actions = {
  register: async c => {
    await client.registerInstance(c.service, instance(c), group(c));
    return true;
  },
  update: c => actions.register(c),
  batch: async () => {
    throw new Unsupported('nacos for Node.js registers one instance at a time');
  },
  deregister: async c => {
    await client.deregisterInstance(c.service, instance(c), group(c));
    return true;
  },
  list: async c =>
    text(
      c.healthy === undefined
        ? await client.getAllInstances(c.service, group(c), clusters(c), false)
        : await client.selectInstances(c.service, group(c), clusters(c), c.healthy, false),
    ),
  services: async () => {
    throw new Unsupported('nacos for Node.js does not list services');
  },
  subscribe: async c => {
    const listener = hosts => {
      const metadata = Object.fromEntries(hosts.map(h => [`${h.ip}:${h.port}`, h.metadata]));
      say({ event: 'change', service: c.service, hosts: text(hosts), metadata });
    };
    const info = { serviceName: c.service, groupName: group(c), clusters: clusters(c) };
    listeners.set(`${c.group}@@${c.service}`, [info, listener]);
    client.subscribe(info, listener);
    return true;
  },
  unsubscribe: async c => {
    client.unSubscribe(...listeners.get(`${c.group}@@${c.service}`));
    return true;
  },
};

async function main() {
  await client.ready();
  say({ event: 'started', version: require('nacos/package.json').version });
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const command = JSON.parse(line);
    actions[command.do](command).then(
      ok => say({ id: command.id, ok }),
      error =>
        say({ id: command.id, [error instanceof Unsupported ? 'unsupported' : 'error']: String(error.message) }),
    );
  }
  process.exit(0);
}

main();
