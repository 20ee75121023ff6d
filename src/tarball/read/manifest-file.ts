/**
 * Reads `manifest.json`, which `docker save` and most other programs write.
 * https://github.com/moby/docker-image-spec/blob/v1.3.1/spec.md#combined-image-json--filesystem-changeset-format
 */

import { type Descriptor, parseDescriptor } from '../../image/descriptor.ts';
import { fieldsOf, type JsonFields } from '../../image/json.ts';
import { cannotReadEntry, tooLarge } from '../../tar/reader.ts';
import { quoted } from '../../util/printable.ts';
import { MAX_IMAGES, MAX_LAYERS } from '../limits.ts';
import { inDocument } from './contents.ts';

/** Name of the file. */
export const MANIFEST_FILE = 'manifest.json';

/** One image of `manifest.json`. */
export interface ManifestFileItem {
  /** Path of the config in the archive. */
  readonly config: string;
  readonly tags: readonly string[];
  /** Paths of the layers in the archive, base first. */
  readonly layers: readonly string[];
  /** Where foreign layers are, by diff ID, or by the digest of the blob as regctl writes it. */
  readonly sources: ReadonlyMap<string, Descriptor>;
}

const FIELDS = ['Config', 'RepoTags', 'Layers', 'LayerSources'];

/**
 * Reads the document.
 *
 * @throws PassthroughError `INVALID_ARCHIVE` naming the field that is missing or malformed
 */
export function parseManifestFile(bytes: Uint8Array): readonly ManifestFileItem[] {
  const items = jsonOf(bytes, MANIFEST_FILE);
  if (items === null) throw malformed('it is null');
  if (!Array.isArray(items)) throw malformed('it is no list of images');
  if (items.length > MAX_IMAGES) throw tooLarge(`manifest.json names more than ${MAX_IMAGES} images`);
  return inDocument(MANIFEST_FILE, () => items.map((item: unknown, index) => parseItem(item, `[${index}]`)));
}

/** @throws PassthroughError `INVALID_ARCHIVE` for what is not JSON in UTF-8 */
export function jsonOf(bytes: Uint8Array, name: string): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (cause) {
    throw cannotReadEntry(name, 'it is not JSON', cause);
  }
}

function parseItem(item: unknown, at: string): ManifestFileItem {
  const fields = fieldsInAnyCase(fieldsOf(item), at);
  const config = fields['Config'];
  if (typeof config !== 'string' || config === '') throw malformed(`${at}.Config is no path`);
  const layers = textsOf(fields, 'Layers', at);
  if (layers.length > MAX_LAYERS) throw tooLarge(`${at} of manifest.json has more than ${MAX_LAYERS} layers`);
  return {
    config,
    tags: textsOf(fields, 'RepoTags', at),
    layers,
    sources: sourcesOf(fields['LayerSources'], `${at}.LayerSources`),
  };
}

/**
 * The fields by the names of {@link FIELDS}. Go's JSON decoder, and so Docker, takes "layers" for "Layers", and imgpull writes it
 * so. Readers disagree on which of two spellings counts.
 */
function fieldsInAnyCase(written: JsonFields, at: string): JsonFields {
  const fields = new Map<string, unknown>();
  for (const [key, value] of Object.entries(written)) {
    const name = FIELDS.find((field) => folded(field) === folded(key));
    if (name === undefined) continue;
    if (fields.has(name)) throw malformed(`${at} has the field ${quoted(name)} in two spellings`);
    fields.set(name, value);
  }
  return Object.fromEntries(fields);
}

/** A name as Go's decoder compares it. It folds `ſ` (U+017F) and the Kelvin sign to `s` and `k`, as upper and lower case in turn do. */
function folded(name: string): string {
  return name.toUpperCase().toLowerCase();
}

/** A list of texts; `null`, as Go writes an empty list, and a missing field are empty. */
function textsOf(fields: JsonFields, field: string, at: string): readonly string[] {
  const value = fields[field] ?? [];
  if (!Array.isArray(value) || !value.every((text) => typeof text === 'string')) {
    throw malformed(`${at}.${field} is no list of texts`);
  }
  return value;
}

function sourcesOf(value: unknown, at: string): ReadonlyMap<string, Descriptor> {
  return new Map(
    Object.entries(fieldsOf(value)).map(([key, source]) => [
      key,
      parseDescriptor(source, `${at}[${quoted(key)}]`),
    ]),
  );
}

function malformed(why: string): Error {
  return cannotReadEntry(MANIFEST_FILE, why);
}
