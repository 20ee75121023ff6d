import { PassthroughError } from '../../errors.ts';
import { quoted } from '../../util/printable.ts';
import { type Field, fieldAt, hasSince, isForeign, isPlace, isPrivileged } from './fields.ts';
import { SCHEMA_VERSIONS, type SchemaVersion } from './settings.ts';
import { hasItems, MAX_TEXT_LENGTH, parseItems, parseValue, ValueError } from './values.ts';
import type { YamlValue } from './yaml.ts';

/** What labels say about a descriptor. */
export interface LabelValues {
  readonly version: SchemaVersion;
  /** Values of fields by their paths below the descriptor, and the label that each comes from. */
  readonly values: ReadonlyMap<string, { readonly value: YamlValue; readonly label: string }>;
  /** Variables that the application gets. */
  readonly environment: ReadonlyMap<string, string>;
  /** Labels that are not taken: they open the device to the application, or mean nothing here. */
  readonly leftOut: readonly string[];
}

/** Begins the names of labels for IOx. */
const PREFIX = 'cisco.';

const VERSION_LABEL = `${PREFIX}descriptor-schema-version`;

/** The label of all variables together, as JSON; `cisco.env.NAME` is that of one. */
const ENV = 'app.env';

/**
 * Reads the labels of an image. They are what its author wants. So the parts that open a device are left out unless the operator
 * allows them.
 *
 * @param labels of the image
 * @param settings the version unless a label names one, and whether privileged parts are taken
 * @throws PassthroughError `UNSUPPORTED_IMAGE` naming a label that would make the descriptor invalid
 */
export function readLabels(
  labels: ReadonlyMap<string, string>,
  {
    schemaVersion,
    allowsPrivileged,
  }: { readonly schemaVersion: SchemaVersion; readonly allowsPrivileged: boolean },
): LabelValues {
  const version = versionOf(labels.get(VERSION_LABEL)) ?? schemaVersion;
  const values = new Map<string, { readonly value: YamlValue; readonly label: string }>();
  const lists = new Map<string, Map<number, { readonly text: string; readonly label: string }>>();
  const environment = new Map<string, string>();
  const leftOut: string[] = [];
  const sorted = [...labels].toSorted(([a], [b]) => (a < b ? -1 : 1));
  for (const [label, text] of sorted) {
    if (!label.startsWith(PREFIX) || label === VERSION_LABEL) continue;
    const path = withoutPortField(pathOf(label));
    if (isForeign(path) || (isPrivileged(path) && !allowsPrivileged)) leftOut.push(label);
    else if (path.join('.').startsWith(ENV)) readEnvironment(label, text, environment);
    else if (!isFixed(path, label, text)) {
      const field = knownField(path, label, version);
      if (field !== undefined) values.set(path.join('.'), { value: fieldValue(field, label, text), label });
      else addItem(lists, path, { text, label }, version);
    }
  }
  for (const [path, items] of lists) {
    const [first] = items.values();
    const label = first?.label ?? '';
    const other = values.get(path);
    if (other !== undefined) throw refuse(label, `label ${quoted(other.label)} has all of the list`);
    const field = fieldAt(path.split('.'));
    if (field === undefined) continue;
    values.set(path, { value: listOf(field, label, items), label });
  }
  return { version, values, environment, leftOut: shown(leftOut) };
}

/** Most labels that an answer names as left out. */
const MAX_SHOWN = 32;

/** Longest name of such a label, in characters. */
const MAX_SHOWN_LENGTH = 80;

/** Names of labels, for a header: of these, it can have letters, digits and few signs. */
function shown(labels: readonly string[]): readonly string[] {
  return labels
    .slice(0, MAX_SHOWN)
    .map((label) => label.slice(0, MAX_SHOWN_LENGTH).replace(/[^A-Za-z0-9._-]/g, '?'));
}

/** What an error says of a label. */
export function refuse(label: string, why: string): PassthroughError {
  return new PassthroughError(
    'UNSUPPORTED_IMAGE',
    `Cannot describe the application for IOx: label ${quoted(label)}: ${why}`,
  );
}

function pathOf(label: string): readonly string[] {
  const parts = label.slice(PREFIX.length).split('.');
  return parts[0] === 'info' ? parts : ['app', ...parts];
}

/** A port can also be an object with a `port` and a `description`: Cisco's schemas take the number in its place. */
function withoutPortField(path: readonly string[]): readonly string[] {
  const isPort = path.at(-1) === 'port' && isPlace(path.at(-2) ?? '') && path.at(-4) === 'ports';
  return isPort ? path.slice(0, -1) : path;
}

/** The oldest version that can be written and is not older than the one that the label names. */
function versionOf(text: string | undefined): SchemaVersion | undefined {
  if (text === undefined) return undefined;
  const asked = numbersOf(text.trim());
  const found = SCHEMA_VERSIONS.find((version) => {
    const [major, minor] = numbersOf(version) ?? [0, 0];
    return asked !== undefined && asked[0] === major && asked[1] <= minor;
  });
  if (found !== undefined) return found;
  throw refuse(
    VERSION_LABEL,
    `expected a version of Cisco's schema, ${SCHEMA_VERSIONS.join(', ')}, and not ${quoted(text, 32)}`,
  );
}

function numbersOf(text: string): readonly [number, number] | undefined {
  const { major, minor } = /^(?<major>\d{1,2})\.(?<minor>\d{1,2})$/.exec(text)?.groups ?? {};
  return major === undefined || minor === undefined ? undefined : [Number(major), Number(minor)];
}

/** Whether a label is about what every package of this program has. */
function isFixed(path: readonly string[], label: string, text: string): boolean {
  if (path.join('.') === 'app.startup.rootfs') return true;
  if (path.join('.') !== 'app.type') return false;
  if (text === 'docker') return true;
  throw refuse(label, `the package is for type docker, and not ${quoted(text, 32)}`);
}

function knownField(path: readonly string[], label: string, version: SchemaVersion): Field | undefined {
  const field = fieldAt(path);
  if (field !== undefined && !hasSince(version, field.since))
    throw refuse(label, `schema ${version} has no such field, it came with ${field.since}`);
  const { until = version } = field ?? {};
  if (until !== version && hasSince(version, until))
    throw refuse(label, `schema ${version} has no such field, it went after ${until}`);
  return field;
}

function addItem(
  lists: Map<string, Map<number, { readonly text: string; readonly label: string }>>,
  path: readonly string[],
  item: { readonly text: string; readonly label: string },
  version: SchemaVersion,
): void {
  const place = path.at(-1) ?? '';
  const parent = path.slice(0, -1);
  const field = isPlace(place) ? knownField(parent, item.label, version) : undefined;
  if (field === undefined || !hasItems(field))
    throw refuse(item.label, `Cisco's schema has no such field for a Docker application`);
  const items = lists.get(parent.join('.')) ?? new Map();
  const other = items.get(Number(place));
  if (other !== undefined) throw refuse(item.label, `label ${quoted(other.label)} has this place, too`);
  lists.set(parent.join('.'), items.set(Number(place), item));
}

function fieldValue(field: Field, label: string, text: string): YamlValue {
  return reworded(label, text, () => parseValue(field, text));
}

function listOf(
  field: Field,
  label: string,
  items: ReadonlyMap<number, { readonly text: string }>,
): YamlValue {
  const texts = [...items].toSorted(([a], [b]) => a - b);
  if (texts.some(([place], index) => place !== index))
    throw refuse(label, 'the places of the list have a gap');
  return reworded(label, texts.map(([, { text }]) => text).join(' '), () =>
    parseItems(
      field,
      texts.map(([, { text }]) => text),
    ),
  );
}

function reworded<T>(label: string, text: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (error instanceof ValueError)
      throw refuse(label, `expected ${error.message}, and not ${quoted(text, 64)}`);
    throw error;
  }
}

function readEnvironment(label: string, text: string, environment: Map<string, string>): void {
  const add = (name: string, value: unknown) => {
    const isValue = typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean';
    if (name === '' || !isValue) throw refuse(label, 'expected variables as JSON, such as {"NAME": "value"}');
    if (environment.has(name)) throw refuse(label, `another label has variable ${quoted(name)}, too`);
    environment.set(name, String(value));
  };
  if (text.length > MAX_TEXT_LENGTH) throw refuse(label, `it has more than ${MAX_TEXT_LENGTH} characters`);
  if (label !== `${PREFIX}env`) {
    const name = label.slice(`${PREFIX}env.`.length);
    add(name, text);
    return;
  }
  let variables: unknown;
  try {
    variables = JSON.parse(text);
  } catch {
    variables = undefined;
  }
  if (typeof variables !== 'object' || variables === null || Array.isArray(variables))
    throw refuse(label, 'expected variables as JSON, such as {"NAME": "value"}');
  for (const [one, value] of Object.entries(variables)) add(one, value);
}
