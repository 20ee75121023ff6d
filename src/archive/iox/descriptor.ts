import { PassthroughError } from '../../errors.ts';
import type { Platform } from '../../image/platform.ts';
import { type Reference, repoTag } from '../../image/reference.ts';
import { quoted } from '../../util/printable.ts';
import type { ApplicationConfig } from './application-config.ts';
import { hasSince, isPlace, orderOf, REQUIRED } from './fields.ts';
import { type LabelValues, readLabels, refuse } from './labels.ts';
import type { IoxSettings, IoxSizing } from './settings.ts';
import { MAX_TEXT_LENGTH } from './values.ts';
import { formatYaml, type YamlMap, type YamlValue } from './yaml.ts';

/** The descriptor of a package: its `package.yaml`. */
export interface IoxDescriptor {
  readonly yaml: string;
  /** Labels of the image that were not taken, sorted. */
  readonly leftOut: readonly string[];
}

/** What a descriptor is made from. */
export interface DescribedImage {
  /** The name of the image in its package. */
  readonly name: Reference;
  readonly platform: Platform | undefined;
  readonly application: ApplicationConfig;
}

/** Name of the archive of the image in `artifacts.tar.gz`. */
export const ROOTFS_NAME = 'rootfs.tar';

/** Most characters of a descriptor. Those of real applications have some hundred. */
const MAX_DESCRIPTOR_LENGTH = 256 * 1024;

/** Longest name of a variable. */
const MAX_VARIABLE_LENGTH = 255;

/** Sizes of labels, which a sizing of the request replaces all. */
const SIZES = ['profile', 'cpu', 'memory', 'disk', 'vcpu'].map((name) => `app.resources.${name}`);

/** Names of processors in descriptors. https://developer.cisco.com/docs/iox/platform-support-matrix */
const PROCESSORS: ReadonlyMap<string, string> = new Map([
  ['amd64', 'x86_64'],
  ['arm64', 'aarch64'],
]);

/**
 * Writes the descriptor of an image, valid under Cisco's schema of its version: from the request, then labels, then the config,
 * then settings.
 *
 * `target` is always a list. As a text, its pattern in Cisco's schema takes exponential time.
 *
 * @throws PassthroughError `UNSUPPORTED_IMAGE` naming the label or the part of the image that makes it invalid
 * @see https://developer.cisco.com/docs/iox/package-descriptor
 */
export function ioxDescriptor(
  image: DescribedImage,
  sizing: IoxSizing | undefined,
  settings: IoxSettings,
): IoxDescriptor {
  const labels = readLabels(image.application.labels, settings);
  const leaves = new Map<string, YamlValue>([
    ...infoOf(image),
    ...startupOf(image, labels),
    ...[...labels.values].map(([path, { value }]) => [path, value] as const),
  ]);
  addProcessor(leaves, image);
  addSizes(leaves, sizing, settings);
  addNetwork(leaves, image.application);
  const fields = treeOf(leaves, labels);
  const app = new Map(mapOf(fields.get('app')));
  const environment = environmentOf(image.application, labels);
  if (environment.size > 0) app.set('env', environment);
  const yaml = formatYaml(
    new Map<string, YamlValue>([
      ['descriptor-schema-version', labels.version],
      ['info', mapOf(fields.get('info'))],
      ['app', app],
    ]),
  );
  if (yaml.length > MAX_DESCRIPTOR_LENGTH) {
    const why = `labels and environment make a descriptor of more than ${MAX_DESCRIPTOR_LENGTH} characters`;
    throw unsupported(why);
  }
  return { yaml, leftOut: labels.leftOut };
}

type Leaf = readonly [path: string, value: YamlValue];

function infoOf({ name, application }: DescribedImage): readonly Leaf[] {
  const { tag } = repoTag(name);
  const said = (label: string) => {
    const text = application.labels.get(`org.opencontainers.image.${label}`) ?? '';
    return text.length <= MAX_TEXT_LENGTH && text !== '' ? text : undefined;
  };
  const leaves: readonly (readonly [path: string, value: string | undefined])[] = [
    ['info.name', said('title') ?? name.repository.split('/').at(-1)],
    ['info.version', said('version') ?? tag],
    ['info.description', said('description')],
    ['info.author-name', said('authors') ?? said('vendor')],
    ['info.author-link', said('url') ?? said('source')],
  ];
  return leaves.flatMap(([path, value]) => (value === undefined ? [] : [[path, value] as const]));
}

function startupOf({ application }: DescribedImage, { values, version }: LabelValues): readonly Leaf[] {
  const { command, workingDirectory, user } = application;
  if (command.length === 0 && !values.has('app.startup.target')) {
    throw unsupported('the image has no command, and no label cisco.startup.target');
  }
  return [
    ['app.type', 'docker'],
    ['app.startup.rootfs', ROOTFS_NAME],
    ['app.startup.target', command],
    ...(workingDirectory === undefined || !hasSince(version, '2.8')
      ? []
      : [['app.startup.workdir', workingDirectory] as const]),
    ...(user === undefined || !hasSince(version, '2.8') ? [] : [['app.startup.user', user] as const]),
  ];
}

function addProcessor(leaves: Map<string, YamlValue>, { platform }: DescribedImage): void {
  if (platform !== undefined && platform.os !== 'linux')
    throw unsupported(`the image is for ${quoted(platform.os)}, and devices run linux`);
  if (leaves.has('app.cpuarch')) return;
  const architecture = platform?.architecture ?? '';
  const processor = PROCESSORS.get(architecture);
  if (processor === undefined)
    throw unsupported(`no device has processor ${quoted(architecture)}, and label cisco.cpuarch is not set`);
  leaves.set('app.cpuarch', processor);
}

function addSizes(
  leaves: Map<string, YamlValue>,
  sizing: IoxSizing | undefined,
  { profile }: IoxSettings,
): void {
  if (sizing !== undefined) {
    for (const path of SIZES) leaves.delete(path);
    for (const name of ['profile', 'cpu', 'memory', 'disk'] as const) {
      const value = sizing[name];
      if (value !== undefined) leaves.set(`app.resources.${name}`, value);
    }
  }
  if (leaves.has('app.resources.profile')) return;
  // Only profile custom has numbers of its own.
  const isCustom = leaves.has('app.resources.cpu') || leaves.has('app.resources.memory');
  leaves.set('app.resources.profile', isCustom ? 'custom' : profile);
}

/** Every interface has a name, and the first one exists: without it, nothing reaches the application. */
function addNetwork(leaves: Map<string, YamlValue>, { tcpPorts, udpPorts }: ApplicationConfig): void {
  const network = 'app.resources.network';
  const places = [...leaves.keys()].flatMap((path) =>
    path.startsWith(`${network}.`) ? [Number(path.split('.')[3])] : [],
  );
  for (const place of new Set([0, ...places])) {
    const path = `${network}.${place}.interface-name`;
    if (!leaves.has(path)) leaves.set(path, `eth${place}`);
  }
  const ports = `${network}.0.ports`;
  if (leaves.has(`${ports}.tcp`) || leaves.has(`${ports}.udp`)) return;
  if (tcpPorts.length > 0) leaves.set(`${ports}.tcp`, tcpPorts);
  if (udpPorts.length > 0) leaves.set(`${ports}.udp`, udpPorts);
}

function environmentOf({ environment }: ApplicationConfig, labels: LabelValues): ReadonlyMap<string, string> {
  const all = new Map([...environment, ...labels.environment]);
  for (const name of all.keys()) {
    if (name.length > MAX_VARIABLE_LENGTH)
      throw unsupported(
        `variable ${quoted(name, 64)} has a name of more than ${MAX_VARIABLE_LENGTH} characters`,
      );
  }
  return all;
}

/** A tree that grows. */
interface Branch extends Map<string, Branch | YamlValue> {}

/** Puts values at their paths. Numbers in a path are places in a list. */
function treeOf(leaves: ReadonlyMap<string, YamlValue>, labels: LabelValues): YamlMap {
  const root: Branch = new Map();
  const ordered = Array.from(leaves, ([path, value]) => ({ path: path.split('.'), value })).toSorted(
    (a, b) => orderOf(a.path) - orderOf(b.path),
  );
  for (const { path, value } of ordered) {
    let branch = root;
    for (const part of path.slice(0, -1)) {
      const next = branch.get(part) ?? new Map();
      branch.set(part, next);
      if (!(next instanceof Map)) throw new PassthroughError('INTERNAL', `Cannot write ${path.join('.')}`);
      branch = next as Branch;
    }
    branch.set(path.at(-1) ?? '', value);
  }
  return mapOf(finished(root, [], labels));
}

function finished(branch: Branch, path: readonly string[], labels: LabelValues): YamlValue {
  checkRequired(branch, path, labels);
  const items = Array.from(branch, ([part, value]) => {
    const isBranch = value instanceof Map;
    return [part, isBranch ? finished(value as Branch, [...path, part], labels) : value] as const;
  });
  if (!items.every(([part]) => isPlace(part))) return new Map(items);
  const sorted = items.toSorted(([a], [b]) => Number(a) - Number(b));
  if (sorted.some(([part], index) => Number(part) !== index))
    throw refuse(labelBelow(path, labels), 'the places of the list have a gap');
  return sorted.map(([, value]) => value);
}

function checkRequired(branch: Branch, path: readonly string[], labels: LabelValues): void {
  const pattern = path.map((part) => (isPlace(part) ? '*' : part)).join('.');
  const [, names = []] = REQUIRED.find(([one]) => one === pattern) ?? [];
  const missing = names.find((name) => !branch.has(name));
  if (missing !== undefined) throw refuse(labelBelow(path, labels), `${missing} is missing beside it`);
}

/** A label below a path, for a message. */
function labelBelow(path: readonly string[], { values }: LabelValues): string {
  const prefix = `${path.join('.')}.`;
  const found = [...values].find(([one]) => one.startsWith(prefix));
  return found?.[1].label ?? path.join('.');
}

function mapOf(value: YamlValue | undefined): YamlMap {
  return value instanceof Map ? value : new Map();
}

function unsupported(why: string): PassthroughError {
  return new PassthroughError('UNSUPPORTED_IMAGE', `Cannot describe the application for IOx: ${why}`);
}
