import { createHash } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { basename } from 'node:path';
import { isPassthroughError, PassthroughError } from '../../errors.ts';
import { quoted } from '../../util/printable.ts';
import { systemErrorCode } from '../../util/system-error.ts';
import { parseKeys, type VerificationKey } from './keys.ts';

/** Keys at one moment. */
export interface KeySet {
  /** Differs between sets with different keys. */
  readonly id: string;
  readonly keys: readonly VerificationKey[];
}

/** Milliseconds between two looks at the files: a key that is withdrawn counts no more after this time. */
const LOOK_INTERVAL_MS = 1_000;

/** Largest file of keys, in bytes: a key has 200 to 1,500. */
const MAX_FILE_BYTES = 64 * 1024;

/** Before a source: its Ed25519 keys sign plain Ed25519. */
const PLAIN_ED25519 = 'ed25519:';

/** A text with keys, or the file that it is in. */
export interface KeySource {
  readonly isPlainEd25519: boolean;
  readonly name: string;
  readonly path: string | undefined;
  readonly text: string;
}

/** A source as it was last read. */
interface ReadSource {
  readonly source: KeySource;
  readonly keys: readonly VerificationKey[];
  readonly text: string;
  /** Why the file cannot be used now. */
  readonly fault?: string;
}

/** The keys that images may be signed with. Their files are read again when they have changed. */
export class KeyRing {
  readonly #onFault: (message: string) => void;
  readonly #now: () => number;
  #read: readonly ReadSource[];
  #set: KeySet;
  #nextLook = 0;

  private constructor(read: readonly ReadSource[], onFault: (message: string) => void, now: () => number) {
    this.#read = read;
    this.#onFault = onFault;
    this.#now = now;
    this.#set = setOf(read);
  }

  /**
   * Reads keys.
   *
   * @param texts each the path of a PEM file, or PEM; `ed25519:` before it accepts Ed25519 keys
   * @param onFault receives the reason why a file that has changed cannot be used; its last keys still count
   * @param now a clock in milliseconds
   * @throws PassthroughError `INVALID_CONFIGURATION`
   */
  static async open(
    texts: readonly string[],
    onFault: (message: string) => void,
    now = () => performance.now(),
  ): Promise<KeyRing> {
    const sources = texts.map(sourceOf);
    return new KeyRing(await Promise.all(sources.map((source) => read(source))), onFault, now);
  }

  /** The keys, those of files as they were a second ago at most. */
  async current(): Promise<KeySet> {
    const now = this.#now();
    if (now < this.#nextLook) return this.#set;
    this.#nextLook = now + LOOK_INTERVAL_MS;
    const before = this.#read;
    const after = await Promise.all(before.map((one) => this.#reread(one)));
    if (after.some((one, at) => one !== before[at])) {
      this.#read = after;
      this.#set = setOf(after);
    }
    return this.#set;
  }

  async #reread(known: ReadSource): Promise<ReadSource> {
    try {
      const now = await read(known.source, known);
      return now.text === known.text && known.fault === undefined ? known : now;
    } catch (error) {
      const fault = error instanceof Error ? error.message : String(error);
      if (fault === known.fault) return known;
      this.#onFault(`${fault}; its keys of before still count`);
      return { ...known, fault };
    }
  }
}

/**
 * Reads how a key is given.
 *
 * @param text the path of a PEM file, or PEM; see {@link KeyRing.open}
 * @param at its place among others, for its name
 */
export function sourceOf(text: string, at: number): KeySource {
  const isPlainEd25519 = text.startsWith(PLAIN_ED25519);
  const rest = isPlainEd25519 ? text.slice(PLAIN_ED25519.length) : text;
  if (rest.includes('-----BEGIN '))
    return { isPlainEd25519, name: `key ${at + 1}`, path: undefined, text: rest };
  return { isPlainEd25519, name: basename(rest), path: rest, text: '' };
}

/** @param before what was read last: the same text has the same keys */
async function read(source: KeySource, before?: ReadSource): Promise<ReadSource> {
  const { name, path, isPlainEd25519 } = source;
  if (path === undefined)
    return before ?? { source, keys: parseKeys(source.text, name, isPlainEd25519), text: source.text };
  try {
    const text = await readText(path);
    const keys = text === before?.text ? before.keys : parseKeys(text, name, isPlainEd25519);
    return { source, keys, text };
  } catch (cause) {
    // Where it stands, for the operator: its name alone goes to clients.
    const reason = isPassthroughError(cause) ? (cause.details.reason ?? cause.message) : reasonOf(cause);
    throw new PassthroughError('INVALID_CONFIGURATION', `Cannot use key ${quoted(path)}: ${reason}`, {
      setting: 'signatureKeys',
      reason,
      cause,
    });
  }
}

/** Reads a file each time, since its size and times may be those of before: `cp -p` keeps them, and a right to read changes neither. */
async function readText(path: string): Promise<string> {
  const found = await stat(path);
  if (!found.isFile()) throw new Error('it is no file');
  if (found.size > MAX_FILE_BYTES) throw new Error(`it has more than ${MAX_FILE_BYTES} bytes`);
  return await readFile(path, 'utf8');
}

function reasonOf(error: unknown): string {
  const code = systemErrorCode(error);
  if (code === 'ENOENT') return 'it does not exist';
  if (code !== undefined) return `it cannot be read (${code})`;
  return error instanceof Error ? error.message : String(error);
}

function setOf(read: readonly ReadSource[]): KeySet {
  const keys = read.flatMap((one) => one.keys);
  const names = keys.map(({ fingerprint, name }) => `${fingerprint} ${name}`);
  return { id: createHash('sha256').update(names.join('\n')).digest('base64url'), keys };
}
