/** Repositories and documents for the tests of the caches. */

import { contentOfBytes } from '../../../src/util/content.ts';
import { sha256 } from '../../support/collect.ts';
import { parseDigest } from '../../support/digest.ts';

/** The repository that documents come from. */
export const HERE = { origin: 'https://a.example', name: 'team/app' };

/** Repositories that differ from it in host, scheme or name alone. */
export const OTHERS = [
  { origin: 'https://b.example', name: 'team/app' },
  { origin: 'http://a.example', name: 'team/app' },
  { origin: 'https://a.example', name: 'team/other' },
];

/** A document with this text. */
export function documentOf(text: string) {
  const bytes = Buffer.from(text);
  return {
    digest: parseDigest(sha256(bytes)),
    content: contentOfBytes(bytes),
    contentType: 'application/json',
  };
}
