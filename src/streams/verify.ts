import { createHash, type Hash } from 'node:crypto';
import { PassthroughError } from '../errors.ts';
import { type Digest, digestAlgorithm } from '../image/digest.ts';
import { quoted } from '../util/printable.ts';

/** Expected content of a stream. */
export interface Expectation {
  readonly digest: Digest;
  /** Bytes; missing where only the digest is known. */
  readonly size?: number;
  /** Name of the stream in messages: `layer "sha256:…"`. */
  readonly what: string;
}

/** Counts and hashes the bytes of a stream, and compares them with what is expected. */
export class Verifier {
  readonly #expected: Expectation;
  readonly #hash: Hash;
  #size = 0;

  constructor(expected: Expectation) {
    this.#expected = expected;
    this.#hash = createHash(digestAlgorithm(expected.digest));
  }

  /** Bytes that were added. */
  get size(): number {
    return this.#size;
  }

  /**
   * Adds the next bytes.
   *
   * @throws PassthroughError `VERIFICATION_FAILED` as soon as there are more bytes than expected
   */
  update(bytes: Uint8Array): void {
    const { size, what } = this.#expected;
    this.#size += bytes.byteLength;
    if (size !== undefined && this.#size > size) {
      throw failure(`Cannot verify ${what}: it has more than the ${size} bytes that its descriptor says`, {
        expected: this.#expected.digest,
      });
    }
    this.#hash.update(bytes);
  }

  /**
   * Ends the check.
   *
   * @throws PassthroughError `VERIFICATION_FAILED`, with the expected and the actual digest
   */
  finish(): void {
    const { digest, size, what } = this.#expected;
    const actual = `${digestAlgorithm(digest)}:${this.#hash.digest('hex')}`;
    if (size !== undefined && this.#size !== size) {
      throw failure(`Cannot verify ${what}: it has ${this.#size} bytes, its descriptor says ${size}`, {
        expected: digest,
        actual,
      });
    }
    if (actual !== digest) {
      throw failure(`Cannot verify ${what}: expected ${digest}, its bytes are ${actual}`, {
        expected: digest,
        actual,
      });
    }
  }
}

/**
 * Passes a stream on and adds its bytes to a verifier. The source stays open when the reader stops early, so that the caller
 * can read the rest and end the check.
 *
 * @throws PassthroughError as {@link Verifier.update}; what the source throws
 */
export async function* verifying(
  source: AsyncIterator<Uint8Array>,
  verifier: Verifier,
): AsyncGenerator<Uint8Array, void, undefined> {
  for (let next = await source.next(); next.done !== true; next = await source.next()) {
    verifier.update(next.value);
    yield next.value;
  }
}

/**
 * Passes a blob on and verifies it at its end, so that a reader who gets to the end has the right bytes.
 *
 * @param source is closed when the reader stops early
 * @throws PassthroughError `VERIFICATION_FAILED`; what the source throws
 */
export async function* verified(
  source: AsyncGenerator<Uint8Array, void, undefined>,
  { digest, size }: { readonly digest: Digest; readonly size: number },
): AsyncGenerator<Uint8Array, void, undefined> {
  const verifier = new Verifier({ digest, size, what: `blob ${quoted(digest)}` });
  try {
    yield* verifying(source, verifier);
    verifier.finish();
  } finally {
    await source.return();
  }
}

function failure(message: string, digests: { expected?: string; actual?: string } = {}): PassthroughError {
  return new PassthroughError('VERIFICATION_FAILED', message, digests);
}
