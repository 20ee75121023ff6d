import { createHash } from 'node:crypto';
import { PassthroughError } from '../errors.ts';
import { type Digest, digestAlgorithm } from '../image/digest.ts';
import type { Descriptor } from '../image/manifest.ts';

/**
 * Compares the size of a document with its descriptor.
 *
 * @param what its name, for the message
 * @throws PassthroughError `VERIFICATION_FAILED`
 */
export function verifySize(bytes: Uint8Array, { size, digest }: Descriptor, what: string): void {
  if (bytes.byteLength === size) return;
  throw new PassthroughError(
    'VERIFICATION_FAILED',
    `Cannot verify ${what}: it has ${bytes.byteLength} bytes, its descriptor says ${size}`,
    { expected: digest, actual: digestOf(bytes, digestAlgorithm(digest)) },
  );
}

/**
 * Compares the digest of a document.
 *
 * @param what its name, for the message
 * @throws PassthroughError `VERIFICATION_FAILED`
 */
export function verifyDigest(bytes: Uint8Array, expected: Digest, what: string): void {
  const actual = digestOf(bytes, digestAlgorithm(expected));
  if (actual === expected) return;
  throw new PassthroughError('VERIFICATION_FAILED', `Cannot verify ${what}: its bytes are ${actual}`, {
    expected,
    actual,
  });
}

/** The digest of bytes. */
export function digestOf(bytes: Uint8Array, algorithm: 'sha256' | 'sha512'): Digest {
  return `${algorithm}:${createHash(algorithm).update(bytes).digest('hex')}`;
}
