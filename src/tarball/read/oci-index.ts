/**
 * Reads the images of an OCI image layout in an archive.
 * https://github.com/opencontainers/image-spec/blob/v1.1.1/image-layout.md
 */

import type { Digest } from '../../image/digest.ts';
import { fieldsOf, type ObjectShape, readJsonObject } from '../../image/json.ts';
import { type ImageManifest, type IndexEntry, parseManifest } from '../../image/manifest.ts';
import { OCI_INDEX } from '../../image/media-type.ts';
import { Verifier } from '../../streams/verify.ts';
import { cannotReadEntry, tooLarge } from '../../tar/reader.ts';
import { printableJson } from '../../util/printable.ts';
import { MAX_IMAGES, MAX_INDEX_DEPTH, MAX_INDEX_ENTRIES } from '../limits.ts';
import { shownName } from '../names.ts';
import { blobName, type Contents, checkSize, inDocument } from './contents.ts';

/** Name of the file that the layout begins with. */
export const INDEX_FILE = 'index.json';

const LAYOUT_FILE = 'oci-layout';

/** The major version of the layout that is known. */
const LAYOUT_VERSION = /^1\./;

/** The image's whole name, as containerd and Docker Engine write it. */
const IMAGE_NAME = 'io.containerd.image.name';
/** The image's tag, or a name: https://github.com/opencontainers/image-spec/blob/v1.1.1/annotations.md */
const REF_NAME = 'org.opencontainers.image.ref.name';

/** What is read of `index.json` besides its descriptors. */
const NAMES_SHAPE: ObjectShape = {
  fields: {
    manifests: {
      items: { fields: { annotations: { fields: { [IMAGE_NAME]: 'scalar', [REF_NAME]: 'scalar' } } } },
    },
  },
};

/** What is read of `oci-layout`. */
const LAYOUT_SHAPE: ObjectShape = { fields: { imageLayoutVersion: 'scalar' } };

/** An image of an OCI layout. */
export interface OciImage {
  /** Name in the archive, as `docker images` shows it; the tag alone if there is nothing else. */
  readonly name: { readonly text: string; readonly isWhole: boolean } | undefined;
  readonly manifest: ImageManifest;
  readonly bytes: Uint8Array;
  readonly digest: Digest;
  /** Whether an index below `index.json` names it. Such an index may name images that the archive does not hold. */
  readonly isOptional: boolean;
}

/**
 * Lists the images of `index.json`, those of an index below it one by one. Attestations and other artifacts are left out.
 *
 * @returns nothing if there is no `index.json`
 * @throws PassthroughError `INVALID_ARCHIVE`, `UNSUPPORTED_IMAGE`, `VERIFICATION_FAILED`, naming the document
 */
export async function readOciImages(contents: Contents): Promise<readonly OciImage[]> {
  const { table } = contents;
  const index = table.file(INDEX_FILE);
  if (index === undefined) return [];
  await checkLayoutVersion(contents);
  const bytes = await contents.document(index);
  const refuse = (why: string, cause?: unknown) => cannotReadEntry(INDEX_FILE, why, cause);
  // Docker Engine 25 writes null where it has stored no manifest.
  const names = namesIn(bytes);
  if (names === undefined) return [];
  const parsed = inDocument(INDEX_FILE, () => parseManifest(bytes, OCI_INDEX));
  if (parsed.kind !== 'index') throw refuse('it is no index');
  const images: OciImage[] = [];
  let visits = 0;
  const visit = async (entry: IndexEntry, name: OciImage['name'], depth: number): Promise<void> => {
    visits += 1;
    if (visits > MAX_INDEX_ENTRIES)
      throw tooLarge(`its indexes name more than ${MAX_INDEX_ENTRIES} manifests`);
    const blob = blobName(entry.digest);
    const file = table.file(blob);
    if (file === undefined) {
      if (depth > 0) return;
      throw cannotReadEntry(INDEX_FILE, `it names ${entry.digest}, which is not in the archive`);
    }
    checkSize(file, entry);
    const manifestBytes = await contents.document(file);
    const verifier = new Verifier({ ...entry, what: `archive entry "${blob}"` });
    verifier.update(manifestBytes);
    verifier.finish();
    const manifest = inDocument(blob, () =>
      parseManifest(manifestBytes, entry.mediaType, { artifacts: true }),
    );
    if (manifest.kind === 'image') {
      if (images.length >= MAX_IMAGES) throw tooLarge(`index.json names more than ${MAX_IMAGES} images`);
      images.push({ name, manifest, bytes: manifestBytes, digest: entry.digest, isOptional: depth > 0 });
    } else if (manifest.kind === 'index') {
      if (depth >= MAX_INDEX_DEPTH)
        throw tooLarge(`it has more than ${MAX_INDEX_DEPTH} indexes in each other`);
      for (const below of manifest.entries) await visit(below, name, depth + 1);
    }
  };
  const candidates = new Set(parsed.entries);
  for (const [at, entry] of parsed.all.entries()) {
    if (candidates.has(entry)) await visit(entry, names[at], 0);
  }
  return images;
}

async function checkLayoutVersion(contents: Contents): Promise<void> {
  // rules_oci leaves the file out.
  const file = contents.table.file(LAYOUT_FILE);
  if (file === undefined) return;
  const fields = readJsonObject(await contents.document(file), LAYOUT_SHAPE, (why) =>
    cannotReadEntry(LAYOUT_FILE, why),
  );
  const version = fields['imageLayoutVersion'];
  if (typeof version !== 'string' || !LAYOUT_VERSION.test(version)) {
    throw cannotReadEntry(LAYOUT_FILE, `imageLayoutVersion is ${printableJson(version)}, expected 1.0.0`);
  }
}

/**
 * The names of the entries of `index.json`. The parser of manifests does not keep them.
 *
 * @returns `undefined` where the list is null
 */
function namesIn(bytes: Uint8Array): readonly OciImage['name'][] | undefined {
  const refuse = (why: string, cause?: unknown) => cannotReadEntry(INDEX_FILE, why, cause);
  const { manifests } = readJsonObject(bytes, NAMES_SHAPE, refuse);
  if (manifests === null) return undefined;
  return Array.isArray(manifests) ? manifests.map(nameOf) : [];
}

function nameOf(entry: unknown): OciImage['name'] {
  const annotations = fieldsOf(fieldsOf(entry)['annotations']);
  const [whole, ref] = [annotations[IMAGE_NAME], annotations[REF_NAME]];
  if (typeof whole === 'string' && whole !== '') return { text: shownName(whole), isWhole: true };
  return typeof ref === 'string' && ref !== '' ? { text: ref, isWhole: false } : undefined;
}
