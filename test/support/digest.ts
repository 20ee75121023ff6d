import { type Digest, isDigest } from '../../src/image/digest.ts';

/** A text as a digest, for tests that write one. @throws TypeError for anything else */
export function parseDigest(text: string): Digest {
  if (isDigest(text)) return text;
  throw new TypeError(`Cannot use "${text}" in a test: it is no digest`);
}
