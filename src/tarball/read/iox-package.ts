/**
 * Reads packages for Cisco IOx, also those of `ioxclient`.
 *
 * @see https://developer.cisco.com/docs/iox/package-format
 */

import { createHash, type Hash } from 'node:crypto';
import { PassthroughError } from '../../errors.ts';
import type { Digest } from '../../image/digest.ts';
import { lendChunk, ownChunk } from '../../streams/chunk.ts';
import { StreamCursor } from '../../tar/cursor.ts';
import { cannotRead, cannotReadEntry, readTar, tooLarge } from '../../tar/reader.ts';
import { quoted } from '../../util/printable.ts';
import { unpack } from '../source/unpack.ts';

/** What a package holds. What it has a digest of was verified. */
export interface PackageReport {
  /** The text of `package.yaml`. */
  readonly descriptor: string;
  /** In the order of the package. */
  readonly files: readonly PackageFileReport[];
}

/** One file of a package. */
export interface PackageFileReport {
  readonly name: string;
  /** Bytes. */
  readonly size: number;
  /** SHA-256. */
  readonly digest: Digest;
  /** Whether `package.mf` has its digest. */
  readonly isListed: boolean;
}

/** Names of the entries with which packages begin. */
const FIRST_NAMES = new Set(
  [
    'package.yaml',
    'package.mf',
    'package_config.ini',
    'package.cert',
    'package.sign',
    'artifacts.tar.gz',
  ].concat(['artifacts.mf', '.package.metadata', 'envelope_package.tar.gz']),
);

/** Bytes of the field for a name in a header: https://pubs.opengroup.org/onlinepubs/9699919799/utilities/pax.html#tag_20_92_13_06 */
const NAME_BYTES = 100;

/** Largest descriptor and list of digests, in bytes. Those of real packages have 1 KB. */
const MAX_TEXT_BYTES = 1024 ** 2;

/** Most entries of a package, and of its artifacts. */
const MAX_FILES = 10_000;

const ALGORITHMS = ['sha1', 'sha256', 'sha512'] as const;

/** Whether bytes begin a package. Other archives have none of these names. */
export function beginsPackage(head: Uint8Array): boolean {
  const name = Buffer.from(head.subarray(0, NAME_BYTES)).toString('latin1').split('\0', 1)[0] ?? '';
  return FIRST_NAMES.has(name.replace(/^\.\//, ''));
}

/** A file that was read. */
interface ReadFile {
  readonly name: string;
  readonly size: number;
  readonly digests: ReadonlyMap<string, string>;
}

/**
 * Reads a package once, and verifies it against its digests.
 *
 * @param readRootfs reads the archive of the image of a Docker application; it need not read to the end
 * @throws PassthroughError `INVALID_ARCHIVE`, `VERIFICATION_FAILED`, `IMAGE_TOO_LARGE`; what `readRootfs` and the source throw
 */
export async function readPackage(
  bytes: AsyncIterable<Uint8Array>,
  readRootfs: (rootfs: AsyncIterable<Uint8Array>) => Promise<void>,
): Promise<PackageReport> {
  const cursor = new StreamCursor(bytes);
  const files = new Map<string, ReadFile>();
  const texts = new Map<string, Buffer>();
  try {
    for await (const { name: written, type, size, content } of readTar(cursor)) {
      const name = written.replace(/^\.\//, '');
      if (type !== 'file') continue;
      if (files.has(name)) throw cannotReadEntry(name, 'the package has two entries of this name');
      if (files.size >= MAX_FILES) throw tooLarge(`it has more than ${MAX_FILES} files`);
      const read = new HashedContent(content());
      if (name === 'package.yaml' || name === 'package.mf') {
        if (size > MAX_TEXT_BYTES) throw tooLarge(`${name} has more than ${MAX_TEXT_BYTES} bytes`);
        texts.set(name, Buffer.concat(await Array.fromAsync(read.chunks())));
      }
      if (name === 'artifacts.tar.gz' || name === 'artifacts.tar') {
        const isDocker = isDockerApplication(texts.get('package.yaml')?.toString() ?? '');
        await readArtifacts(read.chunks(), isDocker ? readRootfs : undefined);
      }
      files.set(name, { name, size, digests: await read.finish() });
    }
  } finally {
    await cursor.close();
  }
  const descriptor = texts.get('package.yaml');
  if (descriptor === undefined) throw cannotRead('the package has no package.yaml');
  const listed = verifyDigests(texts.get('package.mf')?.toString() ?? '', files);
  return {
    descriptor: descriptor.toString(),
    files: Array.from(files.values(), ({ name, size, digests }) => ({
      name,
      size,
      digest: `sha256:${digests.get('sha256') ?? ''}` as const,
      isListed: listed.has(name),
    })),
  };
}

/** Whether a descriptor is that of a Docker application. Others have files of other kinds under the same names. */
function isDockerApplication(descriptor: string): boolean {
  return descriptor.split('\n').some((line) => /^type: *["']?docker\b/.test(line.trim()));
}

async function readArtifacts(
  bytes: AsyncIterable<Uint8Array>,
  readRootfs: ((rootfs: AsyncIterable<Uint8Array>) => Promise<void>) | undefined,
): Promise<void> {
  const cursor = new StreamCursor(unpack(bytes, 'artifacts of the package'));
  let count = 0;
  try {
    for await (const { name, type, content } of readTar(cursor)) {
      count += 1;
      if (count > MAX_FILES) throw tooLarge(`its artifacts have more than ${MAX_FILES} files`);
      if (readRootfs === undefined || type !== 'file' || name.replace(/^\.\//, '') !== 'rootfs.tar') continue;
      await readRootfs(lent(content()));
    }
  } finally {
    await cursor.close();
  }
}

/** Parts of chunks that a cursor still reads. */
async function* lent(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void, undefined> {
  for await (const chunk of chunks) yield lendChunk(chunk, () => undefined);
}

/** A content that is hashed while it is read, to its end also where its reader stops before. */
class HashedContent {
  readonly #content: AsyncIterator<Uint8Array>;
  readonly #hashes = ALGORITHMS.map((algorithm): readonly [string, Hash] => [
    algorithm,
    createHash(algorithm),
  ]);

  constructor(content: AsyncIterable<Uint8Array>) {
    this.#content = content[Symbol.asyncIterator]();
  }

  /** Copies of the chunks: a decoder may have several in its queue. A reader that stops does not close the content. */
  async *chunks(): AsyncGenerator<Uint8Array, void, undefined> {
    for (let chunk = await this.#next(); chunk !== undefined; chunk = await this.#next())
      yield ownChunk(Uint8Array.prototype.slice.call(chunk));
  }

  /** Reads the rest, and returns the digests in hex by algorithm. */
  async finish(): Promise<ReadonlyMap<string, string>> {
    while ((await this.#next()) !== undefined);
    return new Map(this.#hashes.map(([algorithm, hash]) => [algorithm, hash.digest('hex')]));
  }

  async #next(): Promise<Uint8Array | undefined> {
    const result = await this.#content.next();
    if (result.done === true) return undefined;
    for (const [, hash] of this.#hashes) hash.update(result.value);
    return result.value;
  }
}

/**
 * Compares the files with the lines of `package.mf`, such as `SHA256(package.yaml)= 2c26…`.
 *
 * @returns names that have a line
 */
function verifyDigests(text: string, files: ReadonlyMap<string, ReadFile>): ReadonlySet<string> {
  const listed = new Set<string>();
  for (const line of text.split('\n').map((one) => one.trim())) {
    if (line === '') continue;
    const {
      algorithm = '',
      name = '',
      hex = '',
    } = /^(?<algorithm>SHA1|SHA256|SHA512)\((?<name>[^()]+)\)= *(?<hex>[0-9a-fA-F]+)$/.exec(line)?.groups ??
    {};
    if (name === '') throw cannotReadEntry('package.mf', `it has no digest in line ${quoted(line)}`);
    const file = files.get(name);
    if (file === undefined)
      throw cannotReadEntry('package.mf', `it names ${quoted(name)}, which is not in the package`);
    const actual = file.digests.get(algorithm.toLowerCase()) ?? '';
    if (actual !== hex.toLowerCase()) {
      throw new PassthroughError(
        'VERIFICATION_FAILED',
        `Cannot verify archive entry ${quoted(name)}: package.mf has ${algorithm} ${hex.toLowerCase()}, its bytes are ${actual}`,
        { expected: hex.toLowerCase(), actual },
      );
    }
    listed.add(name);
  }
  return listed;
}
