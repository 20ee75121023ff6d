import { PassthroughError } from '../errors.ts';
import { quoted } from '../util/printable.ts';
import { DESCRIPTOR_SHAPE, type Descriptor, parseDescriptor } from './descriptor.ts';
import { fieldsOf, readJsonObject } from './json.ts';
import {
  ACCEPTED_MANIFESTS,
  DOCKER_MANIFEST,
  DOCKER_MANIFEST_LIST,
  essence,
  isImageConfig,
  OCI_INDEX,
  OCI_MANIFEST,
} from './media-type.ts';
import { isUnknownPlatform, PLATFORM_SHAPE, type Platform, platformOfFields } from './platform.ts';

export type { Descriptor } from './descriptor.ts';

/** An entry of an index: an image, an attestation or any other content. */
export interface IndexEntry extends Descriptor {
  readonly platform?: Platform;
}

/** An OCI index or a Docker manifest list. */
export interface Index {
  readonly kind: 'index';
  readonly mediaType: string;
  /** Entries that may be an image: no attestations, no platform `unknown`. */
  readonly entries: readonly IndexEntry[];
  /** Every entry, in order. An archive with the unchanged index needs all. */
  readonly all: readonly IndexEntry[];
}

/** An OCI or Docker image manifest. Layers stand base first. */
export interface ImageManifest {
  readonly kind: 'image';
  readonly mediaType: string;
  readonly config: Descriptor;
  readonly layers: readonly Descriptor[];
}

/** A manifest of anything but a container image: a chart, a signature, an attestation, a model. */
export interface ArtifactManifest {
  readonly kind: 'artifact';
  readonly mediaType: string;
  readonly config: Descriptor;
  readonly layers: readonly Descriptor[];
  /** Type of the artifact, if the manifest has one besides the config's media type. */
  readonly artifactType?: string;
}

/** Annotation that BuildKit puts on index entries which describe another entry. */
const ATTESTATION_ANNOTATION = 'vnd.docker.reference.type';

/** Receives the entries of an index one by one; see {@link parseManifest}. */
export interface EntrySink {
  /** @param mayHoldImage `false` for an attestation or the platform `unknown` */
  add(entry: IndexEntry, mayHoldImage: boolean): void;
}

/** How a manifest is parsed. */
export interface ParseOptions {
  /** Whether manifests are allowed whose config is not an image config. */
  readonly artifacts?: boolean;
  /** Receives the entries of an index, whose lists then stay empty. An index may have 25,000, of which one is needed. */
  readonly entries?: EntrySink;
}

/** What is read of an index entry. */
const ENTRY_SHAPE = {
  fields: {
    ...DESCRIPTOR_SHAPE,
    annotations: { fields: { [ATTESTATION_ANNOTATION]: 'scalar' } },
    platform: { fields: PLATFORM_SHAPE },
  },
} as const;

/** What is read of a manifest. */
const MANIFEST_FIELDS = {
  schemaVersion: 'scalar',
  mediaType: 'scalar',
  artifactType: 'scalar',
  config: { fields: DESCRIPTOR_SHAPE },
  layers: { items: { fields: DESCRIPTOR_SHAPE } },
} as const;

/**
 * Most layers of an image. Engines support 127 (overlayfs) or 125 (aufs). The limit bounds the number of open files, which the
 * size limit of manifests does not.
 */
const MAX_LAYERS = 1000;

/**
 * Reads a manifest of any of the four kinds.
 *
 * The type is the document's own `mediaType`, else `contentType`, else it follows from the fields. A document with the fields
 * of both an index and an image is refused: two readers could see two images under one digest (CVE-2021-41190).
 *
 * @param bytes the document from the registry
 * @param contentType `Content-Type` of the response, or media type of the descriptor
 * @throws PassthroughError `UNSUPPORTED_IMAGE` for schema 1, for artifacts that are not allowed, for other and malformed
 *   documents
 * @see https://github.com/opencontainers/image-spec/blob/v1.1.1/manifest.md
 * @see https://github.com/opencontainers/image-spec/blob/v1.1.1/image-index.md
 */
export function parseManifest(
  bytes: Uint8Array,
  contentType: string,
  options?: ParseOptions & { readonly artifacts?: false },
): Index | ImageManifest;
/** Overload for callers that allow artifacts. */
export function parseManifest(
  bytes: Uint8Array,
  contentType: string,
  options: ParseOptions,
): Index | ImageManifest | ArtifactManifest;
/** Implementation of both overloads. */
export function parseManifest(
  bytes: Uint8Array,
  contentType: string,
  { artifacts = false, entries }: ParseOptions = {},
): Index | ImageManifest | ArtifactManifest {
  const list = new EntryList(entries);
  const manifests = {
    items: ENTRY_SHAPE,
    take: (fields: unknown, index: number) => list.take(fields, index),
  };
  const document = readJsonObject(bytes, { fields: { ...MANIFEST_FIELDS, manifests } }, unsupported);
  if (document['schemaVersion'] === 1) {
    throw unsupported('it is schema 1, which registries and engines have given up; push the image again');
  }
  if (document['schemaVersion'] !== 2) throw unsupported('schemaVersion is not 2');
  const isIndex = document['manifests'] !== undefined;
  const isImage = document['layers'] !== undefined || document['config'] !== undefined;
  if (isIndex && isImage) {
    throw unsupported('it has the fields of an index and of an image, so its meaning is ambiguous');
  }

  const mediaType = documentMediaType(document['mediaType'], contentType, isIndex);
  if (mediaType === OCI_INDEX || mediaType === DOCKER_MANIFEST_LIST) {
    if (!Array.isArray(document['manifests'])) throw unsupported('manifests is not a list');
    return { kind: 'index', mediaType, ...list.end() };
  }
  if (mediaType !== OCI_MANIFEST && mediaType !== DOCKER_MANIFEST) {
    throw unsupported(`media type ${quoted(mediaType)} is not that of an image`);
  }
  const config = parseDescriptor(document['config'], 'config');
  const layers = parseLayers(document['layers']);
  const isOfDocuments = layers.length > 0 && layers.every(({ mediaType }) => isDocument(mediaType));
  const isArtifact = !isImageConfig(config.mediaType) || isOfDocuments;
  if (isArtifact && !artifacts) {
    const [part, type] = isOfDocuments
      ? ['its layers are', layers[0]?.mediaType ?? '']
      : ['its config is', config.mediaType];
    throw unsupported(`it is an artifact, not a container image: ${part} ${quoted(type)}`);
  }
  if (!isArtifact) return { kind: 'image', mediaType, config, layers };
  const { artifactType } = document;
  return {
    kind: 'artifact',
    mediaType,
    config,
    layers,
    ...(typeof artifactType === 'string' && artifactType !== '' && { artifactType }),
  };
}

/**
 * Whether a layer is JSON, as those of attestations (`application/vnd.in-toto+json`) and cosign's signatures. Their manifests have
 * the config of an image, and no engine runs them.
 */
function isDocument(mediaType: string): boolean {
  return /[+/]json$/.test(essence(mediaType));
}

function documentMediaType(own: unknown, contentType: string, isIndex: boolean): string {
  if (typeof own === 'string' && own !== '') return essence(own);
  const given = essence(contentType);
  if (ACCEPTED_MANIFESTS.includes(given)) return given;
  return isIndex ? OCI_INDEX : OCI_MANIFEST;
}

function parseLayers(layers: unknown): readonly Descriptor[] {
  if (!Array.isArray(layers)) throw unsupported('layers is not a list');
  if (layers.length > MAX_LAYERS) throw unsupported(`it has more than ${MAX_LAYERS} layers`);
  return layers.map((layer: unknown, index) => parseDescriptor(layer, `layers[${index}]`));
}

/** The entries of an index, while it is read. It may turn out to be no index, so a malformed entry is reported at the end. */
class EntryList implements EntrySink {
  readonly #sink: EntrySink;
  readonly #all: IndexEntry[] = [];
  readonly #entries: IndexEntry[] = [];
  #fault: unknown;

  constructor(sink: EntrySink | undefined) {
    this.#sink = sink ?? this;
  }

  /** @param fields in the form of {@link ENTRY_SHAPE} */
  take(fields: unknown, index: number): void {
    if (this.#fault !== undefined) return;
    try {
      const { platform: named, annotations } = fieldsOf(fields);
      const platform = platformOfFields(named);
      const descriptor = parseDescriptor(fields, `manifests[${index}]`);
      const isAttestation = Object.hasOwn(fieldsOf(annotations), ATTESTATION_ANNOTATION);
      const mayHoldImage = !isAttestation && (platform === undefined || !isUnknownPlatform(platform));
      this.#sink.add(platform === undefined ? descriptor : { ...descriptor, platform }, mayHoldImage);
    } catch (error) {
      this.#fault = error;
    }
  }

  add(entry: IndexEntry, mayHoldImage: boolean): void {
    this.#all.push(entry);
    if (mayHoldImage) this.#entries.push(entry);
  }

  end(): Pick<Index, 'entries' | 'all'> {
    if (this.#fault !== undefined) throw this.#fault;
    return { entries: this.#entries, all: this.#all };
  }
}

function unsupported(why: string, cause?: unknown): PassthroughError {
  return new PassthroughError('UNSUPPORTED_IMAGE', `Cannot use manifest: ${why}`, { cause });
}
