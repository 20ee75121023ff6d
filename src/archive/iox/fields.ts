/**
 * The fields of descriptors for Docker applications that labels can set, as Cisco's schemas have them. All of these forbid other
 * fields.
 *
 * @see https://developer.cisco.com/docs/iox/package-descriptor
 * @see https://github.com/CiscoIOx/artifacts
 */

import { SCHEMA_VERSIONS, type SchemaVersion } from './settings.ts';

/** Kinds of values. `ports`, `texts` and `words` are lists; of `words` the field has the only ones. */
export type FieldKind =
  | 'text'
  | 'boolean'
  | 'seconds'
  | 'cpu'
  | 'memory'
  | 'disk'
  | 'vcpu'
  | 'integer'
  | 'ports'
  | 'command'
  | 'args'
  | 'texts'
  | 'word'
  | 'words';

/** A field that a label can set. */
export interface Field {
  readonly kind: FieldKind;
  /** Oldest version that has it. */
  readonly since: SchemaVersion;
  /** Latest version that has it; all later ones unless given. */
  readonly until?: SchemaVersion;
  /** For `word` and `words`. */
  readonly words?: readonly string[];
}

type Row = readonly [
  path: string,
  kind: FieldKind,
  since?: SchemaVersion,
  words?: readonly string[] | undefined,
  until?: SchemaVersion,
];

const OAUTH = ['OauthClient', 'OauthValidator'];

const ROWS: readonly Row[] = [
  ['info.name', 'text'],
  ['info.version', 'text'],
  ['info.description', 'text'],
  ['info.author-name', 'text'],
  ['info.author-link', 'text'],
  ['app.cpuarch', 'text'],
  ['app.type', 'text'],
  ['app.resources.profile', 'text'],
  ['app.resources.cpu', 'cpu'],
  ['app.resources.memory', 'memory'],
  ['app.resources.disk', 'disk'],
  ['app.resources.vcpu', 'vcpu'],
  ['app.resources.network.*.interface-name', 'text'],
  ['app.resources.network.*.description', 'text'],
  ['app.resources.network.*.ports.tcp', 'ports'],
  ['app.resources.network.*.ports.udp', 'ports'],
  ['app.resources.network.*.hint', 'text', '2.8'],
  ['app.resources.network.*.type', 'word', '2.8', ['external', 'east-west', 'eobc']],
  ['app.resources.network.*.ipv6_required', 'boolean', '2.8'],
  ['app.resources.network.*.mirroring', 'boolean', '2.10'],
  ['app.resources.network.*.mac_forward_mask', 'text', '2.10', undefined, '2.10'],
  ['app.resources.network.*.mac_forward_enable_mask', 'text', '2.12'],
  ['app.resources.network.*.mac_forward_disable_mask', 'text', '2.12'],
  ['app.resources.network.*.voice-vlan', 'boolean', '2.12'],
  ['app.resources.network.*.multicast', 'boolean', '2.17'],
  ['app.startup.rootfs', 'text'],
  ['app.startup.target', 'command'],
  ['app.startup.args', 'args', '2.8'],
  ['app.startup.workdir', 'text', '2.8'],
  ['app.startup.user', 'text', '2.8'],
  ['app.monitor.script', 'text', '2.8'],
  ['app.monitor.initial_delay_seconds', 'seconds', '2.8'],
  ['app.monitor.period_seconds', 'seconds', '2.8'],
  // What follows opens the device to the application.
  ['app.startup.runtime_options', 'text', '2.12'],
  ['app.resources.privileged', 'boolean', '2.8'],
  ['app.resources.host_mounts.*.target_mount', 'text', '2.8'],
  ['app.resources.host_mounts.*.host_mount_path', 'text', '2.8'],
  ['app.resources.host_mounts.*.description', 'text', '2.8'],
  ['app.resources.devices.*.type', 'text'],
  ['app.resources.devices.*.label', 'text'],
  ['app.resources.devices.*.device-id', 'text'],
  ['app.resources.devices.*.usage', 'text'],
  ['app.resources.devices.*.function', 'text', '2.8'],
  ['app.resources.devices.*.vendorID', 'text', '2.8'],
  ['app.resources.devices.*.productID', 'text', '2.8'],
  ['app.resources.devices.*.mount-point', 'text', '2.8'],
  ['app.resources.devices.*.device-directory-to-mount', 'text', '2.8'],
  ['app.resources.devices.*.mandatory', 'boolean', '2.8'],
  ['app.resources.devices.*.alias', 'text', '2.10'],
  ['app.resources.device-info', 'words', '2.2', ['udi']],
  ['app.resources.access-control.role', 'words', '2.8', OAUTH],
  ['app.resources.access-control.type', 'word', '2.8', ['oauth2']],
  ['app.resources.access-control.scopes', 'texts', '2.8'],
  ['app.resources.filesystem.*.fstype', 'text', '2.8'],
  ['app.resources.filesystem.*.permission', 'text', '2.8'],
  ['app.resources.filesystem.*.target', 'text', '2.8'],
  ['app.resources.filesystem.*.accessmode', 'text', '2.8'],
  ['app.resources.filesystem.*.source.name', 'text', '2.8'],
  ['app.resources.filesystem.*.source.file', 'text', '2.8'],
  ['app.resources.filesystem.*.source.usage', 'integer', '2.8'],
  ['app.resources.filesystem.*.driver.name', 'text', '2.8'],
  ['app.resources.filesystem.*.driver.type', 'text', '2.8'],
  ['app.resources.filesystem.*.driver.wrpolicy', 'text', '2.8'],
  ['app.resources.chardev.*.dev', 'text'],
  ['app.resources.chardev.*.type', 'text'],
  ['app.resources.copy-from-host.parent-dirname', 'text', '2.12'],
  ['app.resources.copy-from-host.nested-dirname', 'text', '2.12'],
  ['app.resources.oauth', 'words', '2.2', OAUTH],
  ['app.resources.broker', 'words', '2.2', ['BrokerClient', 'Broker']],
];

const FIELDS: ReadonlyMap<string, Field> = new Map(
  ROWS.map(([path, kind, since = '2.2', words, until]) => [
    path,
    { kind, since, ...(words && { words }), ...(until && { until }) },
  ]),
);

const ORDER: ReadonlyMap<string, number> = new Map(ROWS.map(([path], index) => [path, index]));

/** Parts of a descriptor that open the device to the application. */
const PRIVILEGED = [
  ...['privileged', 'host_mounts', 'devices', 'device-info', 'access-control', 'filesystem', 'chardev']
    .concat(['copy-from-host', 'oauth', 'broker'])
    .map((name) => `app.resources.${name}`),
  'app.startup.runtime_options',
];

/** What an object must have if it is there at all. Interfaces get a name here. */
export const REQUIRED: readonly (readonly [path: string, names: readonly string[]])[] = [
  ['app.monitor', ['script']],
  ['app.resources.host_mounts.*', ['target_mount']],
  ['app.resources.devices.*', ['type', 'label']],
  ['app.resources.filesystem.*', ['fstype']],
  ['app.resources.chardev.*', ['dev', 'type']],
  ['app.resources.copy-from-host', ['parent-dirname']],
];

/** Parts of Cisco's schemas that are never taken from a label. */
const UNUSED = new Set(
  [
    [
      'cpu-core',
      'depends-on',
      'post_upgrade',
      'rescue',
      'session',
      'signature',
      'child',
      'system-capabilities',
    ],
    [
      'canbus',
      'container-size',
      'cpu-percent',
      'cpu-topology',
      'custom-map',
      'datastore',
      'extended-resources',
    ]
      .concat(['graphics', 'hugepages', 'persistent_data_target', 'platform-env', 'ramfs', 'randomdev'])
      .concat([
        'recommendations',
        'rootfs_expanded_size',
        'rootfs_size',
        'seed-controller-certificate',
        'visualization',
      ])
      .map((name) => `resources.${name}`),
    ['accessmode', 'group', 'os-mode', 'restricted_disk_options', 'unrestricted_disk_options', 'users']
      .concat(['image-name', 'tag'])
      .map((name) => `startup.${name}`),
  ]
    .flat()
    .map((path) => `app.${path}`),
);

/** Parts of a descriptor whose labels are read. */
const SECTIONS = new Set([
  'info',
  'app.cpuarch',
  'app.resources',
  'app.startup',
  'app.monitor',
  'app.stop',
  'app.env',
  'app.type',
]);

/**
 * The field at a path.
 *
 * @param path below the descriptor, with numbers for places in lists
 */
export function fieldAt(path: readonly string[]): Field | undefined {
  return FIELDS.get(patternOf(path));
}

/** The place of a field among all of them, so that descriptors have one order. */
export function orderOf(path: readonly string[]): number {
  return ORDER.get(patternOf(path)) ?? ORDER.size;
}

function patternOf(path: readonly string[]): string {
  return path.map((part) => (isPlace(part) ? '*' : part)).join('.');
}

/** Whether a part of a path is a place in a list. */
export function isPlace(part: string): boolean {
  return /^(?:0|[1-9]\d?)$/.test(part);
}

/** Whether a path lies in a part that opens the device to the application. */
export function isPrivileged(path: readonly string[]): boolean {
  return PRIVILEGED.includes(path.slice(0, 3).join('.'));
}

/** Whether a path belongs to no part whose labels are read, or describes a port, which is written as a number. */
export function isForeign(path: readonly string[]): boolean {
  if (path.at(-1) === 'description' && path.at(-4) === 'ports') return true;
  const isUnused = UNUSED.has(path.slice(0, 2).join('.')) || UNUSED.has(path.slice(0, 3).join('.'));
  return isUnused || !(SECTIONS.has(path[0] ?? '') || SECTIONS.has(path.slice(0, 2).join('.')));
}

/** Whether a version of the schema has what came with another one. */
export function hasSince(version: SchemaVersion, since: SchemaVersion): boolean {
  return SCHEMA_VERSIONS.indexOf(version) >= SCHEMA_VERSIONS.indexOf(since);
}
