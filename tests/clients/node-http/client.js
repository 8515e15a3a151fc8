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

const say = message => console.log('@@ ' + JSON.stringify(message));
const text = hosts => hosts.map(h => `${h.ip}:${h.port}=${h.healthy}`).sort();
const instance = c => ({ ip: c.ip, port: c.port, metadata: c.metadata || {} });

const actions = {
  register: c => client.registerInstance(c.service, instance(c), c.group || undefined).then(() => true),
  deregister: c => client.deregisterInstance(c.service, instance(c), c.group || undefined).then(() => true),
  list: c => client.getAllInstances(c.service, c.group || undefined, '', false).then(text),
  subscribe: async c => {
    client.subscribe({ serviceName: c.service, groupName: c.group || undefined }, hosts =>
      say({ event: 'change', service: c.service, hosts: text(hosts) }),
    );
    return true;
  },
};

async function main() {
  await client.ready();
  say({ event: 'started' });
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const command = JSON.parse(line);
    actions[command.do](command).then(
      ok => say({ id: command.id, ok }),
      error => say({ id: command.id, error: String(error) }),
    );
  }
  process.exit(0);
}

main();
