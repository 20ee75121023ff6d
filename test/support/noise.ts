import { createHash } from 'node:crypto';

/** Bytes that no compressor makes smaller. The same seed gives the same bytes. */
export function noise(seed: string, length: number): Buffer {
  return createHash('shake256', { outputLength: length }).update(seed).digest();
}
