import { createHash, type Hash } from 'node:crypto';
import { PassthroughError } from '../errors.ts';
import { type Digest, digestAlgorithm } from '../image/digest.ts';

/** What a stream of bytes is expected to be. */
export interface Expectation {
  readonly digest: Digest;
  /** Bytes; left out where only the digest is known. */
  readonly size?: number;
  /** What the bytes are, for messages: `layer "sha256:…"`. */
  readonly what: string;
}

/** Counts and hashes bytes as they pass, and says at the end whether they are the expected ones. */
export class Verifier {
  readonly #expected: Expectation;
  readonly #hash: Hash;
  #size = 0;

  constructor(expected: Expectation) {
    this.#expected = expected;
    this.#hash = createHash(digestAlgorithm(expected.digest));
  }

  /** Bytes that have passed so far. */
  get size(): number {
    return this.#size;
  }

  /**
   * Takes the next bytes.
   *
   * @throws PassthroughError `VERIFICATION_FAILED` as soon as there are more than expected
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
   * @throws PassthroughError `VERIFICATION_FAILED` with expected and actual digest
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
 * Passes bytes on under a verifier's eyes. Leaves the source open when its own reader stops early, so that the rest can
 * still be read and the check be ended.
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

function failure(message: string, digests: { expected?: string; actual?: string } = {}): PassthroughError {
  return new PassthroughError('VERIFICATION_FAILED', message, digests);
}
