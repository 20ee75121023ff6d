import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parseApplicationConfig } from '../../../src/archive/iox/application-config.ts';
import { ioxDescriptor } from '../../../src/archive/iox/descriptor.ts';
import { type IoxSettings, type IoxSizing, SCHEMA_VERSIONS } from '../../../src/archive/iox/settings.ts';
import { isPassthroughError } from '../../../src/errors.ts';
import { validDescriptor } from '../../support/iox.ts';

const SETTINGS: IoxSettings = {
  profile: 'c1.small',
  schemaVersion: '2.10',
  allowsPrivileged: false,
  digest: 'sha256',
};

const NAME = { registryName: 'docker.io', repository: 'team/app', tag: '1.2' };

/** What a test says of an image. */
interface Given {
  readonly config?: Readonly<Record<string, unknown>>;
  readonly labels?: Readonly<Record<string, string>>;
  readonly sizing?: IoxSizing;
  readonly settings?: Partial<IoxSettings>;
  readonly platform?: { readonly os: string; readonly architecture: string };
}

function describeImage({ config = {}, labels, sizing, settings, platform }: Given) {
  const all = { config: { Cmd: ['/app'], ...(labels && { Labels: labels }), ...config } };
  return ioxDescriptor(
    {
      name: NAME,
      platform: platform ?? { os: 'linux', architecture: 'amd64' },
      application: parseApplicationConfig(Buffer.from(JSON.stringify(all))),
    },
    sizing,
    { ...SETTINGS, ...settings },
  );
}

/** The parts of a valid descriptor. */
function read(given: Given) {
  const { yaml, leftOut } = describeImage(given);
  const fields = validDescriptor(yaml);
  const app = fields['app'] as Record<string, Record<string, unknown>>;
  return {
    version: fields['descriptor-schema-version'],
    info: fields['info'],
    app,
    resources: app['resources'],
    startup: app['startup'],
    leftOut,
  };
}

const ETH0 = { 'interface-name': 'eth0' };

describe('the descriptor of an image without labels', () => {
  test('comes from its configuration', () => {
    const config = {
      Entrypoint: ['/bin/sh', '-c'],
      Cmd: ['exec app "$0"', 'a: b'],
      Env: ['PATH=/bin', 'EMPTY=', 'TEXT=a\nb: &c', 'broken'],
      WorkingDir: '/srv',
      User: '1000:1000',
      ExposedPorts: { '8080/tcp': {}, '53/udp': {}, '443': {}, '99999/tcp': {}, '80-90/tcp': {} },
      Labels: {
        'org.opencontainers.image.title': 'An app',
        'org.opencontainers.image.version': '9',
        'org.opencontainers.image.description': 'does: things',
        'org.opencontainers.image.authors': 'A <a@example.com>',
        'org.opencontainers.image.url': 'https://example.com',
      },
    };
    const { version, info, app, leftOut } = read({ config });
    assert.equal(version, '2.10');
    assert.deepEqual(info, {
      name: 'An app',
      version: '9',
      description: 'does: things',
      'author-name': 'A <a@example.com>',
      'author-link': 'https://example.com',
    });
    assert.deepEqual(app, {
      cpuarch: 'x86_64',
      type: 'docker',
      resources: {
        profile: 'c1.small',
        network: [{ ...ETH0, ports: { tcp: [443, 8080], udp: [53] } }],
      },
      startup: {
        rootfs: 'rootfs.tar',
        target: ['/bin/sh', '-c', 'exec app "$0"', 'a: b'],
        workdir: '/srv',
        user: '1000:1000',
      },
      env: { PATH: '/bin', EMPTY: '', TEXT: 'a\nb: &c' },
    });
    assert.deepEqual(leftOut, []);
  });

  test('has the name and the tag of its reference', () => {
    const { info, app } = read({ platform: { os: 'linux', architecture: 'arm64' } });
    assert.deepEqual(info, { name: 'app', version: '1.2' });
    assert.equal(app['cpuarch'], 'aarch64');
  });

  for (const schemaVersion of SCHEMA_VERSIONS) {
    test(`is valid under schema ${schemaVersion}`, () => {
      const config = { WorkingDir: '/srv', User: 'app', Env: ['A=b'], ExposedPorts: { '1/udp': {} } };
      const { version, startup } = read({ config, settings: { schemaVersion } });
      assert.equal(version, schemaVersion);
      assert.equal(startup?.['workdir'], schemaVersion === '2.2' ? undefined : '/srv');
    });
  }

  const refused: readonly [given: Given, message: RegExp][] = [
    [{ config: { Cmd: null } }, /no command/],
    [{ platform: { os: 'windows', architecture: 'amd64' } }, /"windows"/],
    [{ platform: { os: 'linux', architecture: 's390x' } }, /"s390x"/],
    [{ config: { Env: [`${'A'.repeat(300)}=1`] } }, /variable "A+…"/],
    [{ config: { Env: [`A=${'x'.repeat(300_000)}`] } }, /more than 262144 characters/],
  ];
  for (const [given, message] of refused) test(`is refused: ${message}`, () => assertRefused(given, message));
});

/** Labels of public Dockerfiles, by the repository that has them. */
const PUBLIC: readonly [where: string, labels: Readonly<Record<string, string>>, expected: object][] = [
  [
    'CiscoDevNet/IOx_AzureIoT_App',
    {
      'cisco.cpuarch': 'x86_64',
      'cisco.resources.profile': 'c1.small',
      'cisco.resources.disk': '20',
      'cisco.resources.network.0.interface-name': 'eth0',
    },
    { resources: { profile: 'c1.small', disk: 20, network: [ETH0] } },
  ],
  [
    'Khurram703/iox-docker-python-web',
    {
      'cisco.cpuarch': 'x86_64',
      'cisco.resources.profile': 'c1.small',
      'cisco.resources.network.0.ports.tcp': '9000',
    },
    { resources: { profile: 'c1.small', network: [{ ...ETH0, ports: { tcp: [9000] } }] } },
  ],
  [
    'Stienvdh/netgru-edgecomputing',
    {
      'cisco.info.name': 'iox_docker_python_web',
      'cisco.info.description': 'Basic WebApp for IOx',
      'cisco.info.version': '0.21',
      'cisco.info.author-link': '',
      'cisco.info.author-name': '',
      'cisco.type': 'docker',
      'cisco.cpuarch': 'aarch64',
      'cisco.resources.profile': 'custom',
      'cisco.resources.cpu': '100',
      'cisco.resources.memory': '100',
      'cisco.resources.disk': '10',
      'cisco.resources.network.0.interface-name': 'eth0',
      'cisco.resources.network.0.ports.tcp': '[8000]',
    },
    {
      info: {
        name: 'iox_docker_python_web',
        version: '0.21',
        description: 'Basic WebApp for IOx',
        'author-name': '',
        'author-link': '',
      },
      resources: {
        profile: 'custom',
        cpu: 100,
        memory: 100,
        disk: 10,
        network: [{ ...ETH0, ports: { tcp: [8000] } }],
      },
    },
  ],
  [
    'var-dev/iox-rsyslog-alpine',
    {
      'cisco.descriptor-schema-version': '2.6',
      'cisco.info.author-link': ' https://github.com/var-dev/iox-rsyslog-alpine ',
      'cisco.resources.profile': 'custom',
      'cisco.resources.cpu': '800',
      'cisco.resources.memory': '1024',
      'cisco.resources.disk': '10',
      'cisco.resources.network.0.interface-name': 'eth0',
      'cisco.resources.network.0.ports.udp': '514',
      'cisco.resources.network.1.interface-name': 'eth1',
      'cisco.resources.network.1.ports.udp': '514',
      'cisco.startup.rootfs': 'rootfs.tar',
      'cisco.startup.target': '/runapp.sh',
    },
    {
      version: '2.8',
      startup: { rootfs: 'rootfs.tar', target: ['/runapp.sh'] },
      resources: {
        profile: 'custom',
        cpu: 800,
        memory: 1024,
        disk: 10,
        network: [
          { ...ETH0, ports: { udp: [514] } },
          { 'interface-name': 'eth1', ports: { udp: [514] } },
        ],
      },
    },
  ],
  [
    'var-dev/iox-rsyslog',
    { 'cisco.descriptor-schema-version': '2.12', 'cisco.monitor.script': 'healthprobe.sh' },
    { version: '2.12', monitor: { script: 'healthprobe.sh' } },
  ],
];

describe('labels of public images', () => {
  for (const [where, labels, expected] of PUBLIC) {
    test(`of ${where}`, () => {
      const { app, ...parts } = read({ labels });
      for (const [name, value] of Object.entries(expected)) {
        assert.deepEqual({ ...app, ...parts }[name as keyof typeof parts], value, name);
      }
    });
  }
});

describe('a label', () => {
  const taken: readonly [label: string, text: string, expected: unknown][] = [
    ['info.name', 'a\nprivileged: true', 'a\nprivileged: true'],
    ['info.name', '!!js/function "x"', '!!js/function "x"'],
    ['info.name', '&a *a: {b}', '&a *a: {b}'],
    ['info.description', 'x'.repeat(4096), 'x'.repeat(4096)],
    ['cpuarch', 'ppc64le', 'ppc64le'],
    ['resources.cpu', '1', 1],
    ['resources.cpu', '1000000', 1_000_000],
    ['resources.vcpu', '2', 2],
    ['resources.network.0.ports.tcp', '["80", 443]', [80, 443]],
    ['resources.network.0.ports.tcp', '80,443', [80, 443]],
    ['resources.network.0.ports.udp', '[]', []],
    ['resources.network.0.ipv6_required', 'True', true],
    ['resources.network.0.type', 'east-west', 'east-west'],
    ['resources.network.0.mac_forward_mask', '0x4000', '0x4000'],
    ['startup.target', 'npm start --prefix "/a b"', ['npm', 'start', '--prefix', '/a b']],
    ['startup.target', '["/app", "a b"]', ['/app', 'a b']],
    ['startup.args', '-p 80', '-p 80'],
    ['startup.args', '["-p", "80"]', ['-p', '80']],
    ['startup.user', '0', '0'],
    ['env.A.B', 'c', { 'A.B': 'c' }],
    ['env', '{"A": "b", "C": 1}', { A: 'b', C: '1' }],
    ['env.__proto__', 'x', Object.fromEntries([['__proto__', 'x']])],
  ];
  for (const [label, text, expected] of taken) {
    test(`${label}=${JSON.stringify(text.slice(0, 40))} is data`, () => {
      const { info, app } = read({ labels: { [`cisco.${label}`]: text } });
      const path = label.startsWith('env') ? ['env'] : label.split('.');
      const root: unknown = label.startsWith('info') ? { info } : app;
      const value = path.reduce((at: unknown, part) => Object(at)[part], root);
      assert.deepEqual(value, expected);
    });
  }

  const refused: readonly [labels: Readonly<Record<string, string>>, message: RegExp][] = [
    [{ 'info.name': 'x'.repeat(4097) }, /"cisco\.info\.name": expected at most 4096/],
    [{ 'info.name': 'x'.repeat(1_000_000) }, /"cisco\.info\.name"/],
    [{ 'env.A': 'x'.repeat(1_000_000) }, /"cisco\.env\.A"/],
    [{ 'info.nam': 'a' }, /"cisco\.info\.nam": Cisco's schema has no such field/],
    [{ 'info.name.first': 'a' }, /"cisco\.info\.name\.first"/],
    [{ info: 'a' }, /"cisco\.info"/],
    [{ 'info..name': 'a' }, /"cisco\.info\.\.name"/],
    [{ resources: 'a', 'resources.cpu': '1' }, /"cisco\.resources"/],
    [{ 'resources.network': '[]' }, /"cisco\.resources\.network"/],
    [{ 'resources.cpu': '0' }, /"cisco\.resources\.cpu"/],
    [{ 'resources.cpu': '-1' }, /"cisco\.resources\.cpu"/],
    [{ 'resources.cpu': '1e3' }, /"cisco\.resources\.cpu"/],
    [{ 'resources.memory': '99999999999999999999' }, /"cisco\.resources\.memory"/],
    [{ 'resources.network.0.ports.tcp': '65536' }, /whole numbers from 1 to 65535, and not "65536"/],
    [{ 'resources.network.0.ports.tcp': '[80' }, /"cisco\.resources\.network\.0\.ports\.tcp"/],
    [
      { 'resources.network.0.ports.tcp': '80', 'resources.network.0.ports.tcp.0': '81' },
      /has all of the list/,
    ],
    [
      { 'resources.network.0.ports.tcp.0': '80', 'resources.network.0.ports.tcp.0.port': '81' },
      /ports\.tcp\.0" has this place, too/,
    ],
    [{ 'startup.target.0': '/a', 'startup.target.2': 'b' }, /gap/],
    [{ 'resources.network.2.interface-name': 'eth2' }, /gap/],
    [{ 'resources.network.00.interface-name': 'a' }, /no such field/],
    [{ 'resources.network.0.type': 'wan' }, /external, east-west, eobc/],
    [{ 'startup.target': '"open' }, /quotes are closed/],
    [{ 'startup.target': '[1]' }, /list of texts/],
    [{ 'startup.target': '[]' }, /"cisco\.startup\.target": expected a command, and not "\[\]"/],
    [{ 'startup.target': ' ' }, /"cisco\.startup\.target": expected a command/],
    [{ 'stop.target': '/stop' }, /"cisco\.stop\.target": Cisco's schema has no such field/],
    [{ 'monitor.period_seconds': '5' }, /script is missing/],
    [{ 'monitor.period_seconds': '999999', 'monitor.script': 'a' }, /seconds/],
    [{ env: '{"A": "b"}', 'env.A': 'c' }, /another label has variable "A"/],
    [{ env: 'A=b' }, /variables as JSON/],
    [{ env: '{"A": {}}' }, /variables as JSON/],
    [{ type: 'lxc' }, /type docker, and not "lxc"/],
    [{ 'descriptor-schema-version': '3.0' }, /a version of Cisco's schema/],
    [{ 'descriptor-schema-version': '2.10\nx: y' }, /a version of Cisco's schema/],
    [{ 'descriptor-schema-version': '2.2', 'startup.workdir': '/a' }, /came with 2\.8/],
    [
      { 'descriptor-schema-version': '2.12', 'resources.network.0.mac_forward_mask': '1' },
      /2\.12 has no such field, it went after 2\.10/,
    ],
  ];
  for (const [labels, message] of refused) {
    const all = Object.fromEntries(Object.entries(labels).map(([name, text]) => [`cisco.${name}`, text]));
    const what = Object.entries(labels).map(([name, text]) => `${name}=${JSON.stringify(text.slice(0, 24))}`);
    test(`${what.join(' ')} is refused`, () => assertRefused({ labels: all }, message));
  }

  test('of a size is replaced by the size of the request', () => {
    const labels = {
      'cisco.resources.cpu': '100',
      'cisco.resources.memory': '64',
      'cisco.resources.vcpu': '2',
    };
    assert.deepEqual(read({ labels }).resources, {
      profile: 'custom',
      cpu: 100,
      memory: 64,
      vcpu: 2,
      network: [ETH0],
    });
    const { resources } = read({ labels, sizing: { profile: 'c1.large' } });
    assert.deepEqual(resources, { profile: 'c1.large', network: [ETH0] });
  });

  test('of a port as an object gives its number', () => {
    const ports = 'cisco.resources.network.0.ports.tcp';
    const labels = { [`${ports}.0.port`]: '80', [`${ports}.0.description`]: 'web', [`${ports}.1`]: '443' };
    const { resources, leftOut } = read({ labels });
    assert.deepEqual(resources?.['network'], [{ ...ETH0, ports: { tcp: [80, 443] } }]);
    assert.deepEqual(leftOut, [`${ports}.0.description`]);
  });

  test('of a field that only later schemas have is valid under these', () => {
    const labels = {
      'cisco.descriptor-schema-version': '2.12',
      'cisco.resources.network.0.mac_forward_enable_mask': '0x1',
      'cisco.resources.network.0.mac_forward_disable_mask': '2',
      'cisco.resources.network.0.voice-vlan': 'true',
    };
    assert.deepEqual(read({ labels }).resources?.['network'], [
      { ...ETH0, mac_forward_enable_mask: '0x1', mac_forward_disable_mask: '2', 'voice-vlan': true },
    ]);
  });

  test('of another kind is left alone', () => {
    assert.deepEqual(read({ labels: { maintainer: 'a', 'com.cisco.x': 'b' } }).leftOut, []);
  });

  test('that means nothing to IOx is left out', () => {
    const labels = { 'cisco.x: y\n': 'a', 'cisco.resources.canbus': 'true', 'cisco.startup.group': '0' };
    assert.deepEqual(read({ labels }).leftOut, [
      'cisco.resources.canbus',
      'cisco.startup.group',
      'cisco.x??y?',
    ]);
  });
});

/** For each part that opens the device: labels that are complete. */
const PRIVILEGED: readonly [part: string, labels: Readonly<Record<string, string>>, expected: unknown][] = [
  ['resources.privileged', { '': 'true' }, true],
  [
    'resources.host_mounts',
    { '.0.target_mount': '/a', '.0.host_mount_path': '/' },
    [{ target_mount: '/a', host_mount_path: '/' }],
  ],
  [
    'resources.devices',
    { '.0.type': 'serial', '.0.label': 'HOST_DEV1', '.0.mandatory': 'true' },
    [{ type: 'serial', label: 'HOST_DEV1', mandatory: true }],
  ],
  ['resources.device-info', { '': 'udi' }, ['udi']],
  ['resources.device-info', { '.0': 'udi' }, ['udi']],
  ['startup.runtime_options', { '': '--privileged' }, '--privileged'],
  [
    'resources.access-control',
    { '.type': 'oauth2', '.role': 'OauthClient', '.scopes': '["a","b"]' },
    { role: ['OauthClient'], type: 'oauth2', scopes: ['a', 'b'] },
  ],
  [
    'resources.filesystem',
    { '.0.fstype': 'ext4', '.0.source.usage': '5' },
    [{ fstype: 'ext4', source: { usage: 5 } }],
  ],
  ['resources.chardev', { '.0.dev': '/dev/x', '.0.type': 'pty' }, [{ dev: '/dev/x', type: 'pty' }]],
  ['resources.copy-from-host', { '.parent-dirname': '/etc' }, { 'parent-dirname': '/etc' }],
  ['resources.oauth', { '': 'OauthClient' }, ['OauthClient']],
  ['resources.broker', { '': '["Broker", "BrokerClient"]' }, ['Broker', 'BrokerClient']],
];

describe('a label that opens the device', () => {
  for (const [part, texts, expected] of PRIVILEGED) {
    const labels = Object.fromEntries(
      Object.entries(texts).map(([end, text]) => [`cisco.${part}${end}`, text]),
    );
    const [section = '', name = ''] = part.split('.');

    test(`${Object.keys(labels)} is left out`, () => {
      const { app, leftOut } = read({ labels, settings: { schemaVersion: '2.12' } });
      assert.deepEqual(leftOut, Object.keys(labels).toSorted());
      assert.equal(app[section]?.[name], undefined);
    });

    test(`${Object.keys(labels)} is taken where it is allowed`, () => {
      const { app, leftOut } = read({
        labels,
        settings: { schemaVersion: '2.12', allowsPrivileged: true },
      });
      assert.deepEqual(leftOut, []);
      assert.deepEqual(app[section]?.[name], expected);
    });
  }

  test('is left out whatever it says', () => {
    const labels = { 'cisco.resources.devices.x.y': '\n- a', 'cisco.resources.privileged.a': 'b' };
    assert.deepEqual(read({ labels }).leftOut, Object.keys(labels).toSorted());
  });

  const refused: readonly [labels: Readonly<Record<string, string>>, message: RegExp][] = [
    [{ 'cisco.resources.devices.0.type': 'serial' }, /label is missing/],
    [{ 'cisco.resources.oauth': 'Anything' }, /OauthClient, OauthValidator/],
    [{ 'cisco.resources.privileged': 'maybe' }, /true, false/],
    [{ 'cisco.startup.runtime_options': '-it' }, /schema 2\.10 has no such field, it came with 2\.12/],
  ];
  for (const [labels, message] of refused) {
    test(`${Object.keys(labels)} that is wrong is refused where it is allowed`, () =>
      assertRefused({ labels, settings: { allowsPrivileged: true } }, message));
  }
});

function assertRefused(given: Given, message: RegExp): void {
  assert.throws(
    () => describeImage(given),
    (error) => {
      assert.ok(isPassthroughError(error, 'UNSUPPORTED_IMAGE'), String(error));
      assert.match(error.message, message);
      assert.ok(error.message.length < 600, 'a label is cut');
      return true;
    },
  );
}
