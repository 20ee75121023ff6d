import { PassthroughError } from '../../errors.ts';
import { quoted } from '../../util/printable.ts';
import { nearest } from '../../util/text/nearest.ts';

/**
 * Parameters that others add to a URL: those that sign it or track who follows it. They mean nothing to any route, and they are
 * ignored. A `*` stands for any rest of the name. Case does not count.
 */
export const IGNORED_PARAMETERS: Readonly<Record<string, readonly string[]>> = {
  'AWS S3 and CloudFront': [
    'X-Amz-*',
    'AWSAccessKeyId',
    'Signature',
    'Expires',
    'Policy',
    'Key-Pair-Id',
    'Hash-Algorithm',
  ],
  'Google Cloud Storage': ['X-Goog-*', 'GoogleAccessId'],
  'Azure SAS': [
    ...['sv', 'ss', 'srt', 'sr', 'sp', 'se', 'st', 'spr', 'sip', 'sig', 'si', 'sdd', 'ses'],
    ...['skoid', 'sktid', 'skt', 'ske', 'sks', 'skv', 'saoid', 'suoid', 'scid'],
  ],
  'Alibaba and Tencent Cloud': ['X-Oss-*', 'OSSAccessKeyId', 'security-token', 'X-Cos-*', 'q-*'],
  'Akamai and Cloudflare': ['hdnea', 'hdnts', '__cf_chl_*'],
  Campaigns: ['utm_*', 'mtm_*', 'pk_*', 'matomo_*', 'hsa_*', '_hs*', '__hs*', 'mc_cid', 'mc_eid', 'mkt_tok'],
  Clicks: [
    ...['gclid', 'gclsrc', 'dclid', 'gbraid', 'wbraid', 'gad_*', 'srsltid', 'fbclid', 'msclkid', 'twclid'],
    ...['ttclid', 'li_fat_id', 'igshid', 'igsh', 'yclid', 'ysclid', '_ga', '_gl', '_ke', 'vero_id'],
  ],
  'Caches that are to be passed by': ['_'],
};

const NAMES = Object.values(IGNORED_PARAMETERS)
  .flat()
  .map((name) => name.toLowerCase());
const IGNORED = new Set(NAMES.filter((name) => !name.endsWith('*')));
const IGNORED_PREFIXES = NAMES.filter((name) => name.endsWith('*')).map((name) => name.slice(0, -1));

/** Names that an error shows. The text behind a `?` may be a secret in the wrong place, and secrets have digits. */
const SHOWN_NAME = /^[a-z_-]{1,32}$/i;

/** Most edits for a name that is meant: a quarter of its length, and one for the shortest. */
const editsOf = (name: string): number => Math.max(1, Math.floor(name.length / 4));

/**
 * Refuses parameters that mean nothing to a route: one that is mistyped would have no effect, and nothing would say so.
 *
 * @param known names that the route takes
 * @throws PassthroughError `UNKNOWN_PARAMETER` with the nearest name
 */
export function refuseUnknownParameters(query: URLSearchParams, known: readonly string[]): void {
  for (const name of query.keys()) {
    if (known.includes(name) || isIgnored(name)) continue;
    const what = SHOWN_NAME.test(name) ? ` ${quoted(name)}` : '';
    throw new PassthroughError('UNKNOWN_PARAMETER', `Cannot use parameter${what}: ${expected(name, known)}`);
  }
}

function isIgnored(name: string): boolean {
  const lower = name.toLowerCase();
  return IGNORED.has(lower) || IGNORED_PREFIXES.some((prefix) => lower.startsWith(prefix));
}

function expected(name: string, known: readonly string[]): string {
  const meant = nearest(name.toLowerCase(), known, editsOf);
  if (meant !== undefined) return `did you mean ${meant}?`;
  return known.length === 0 ? 'this route takes none' : `this route takes ${known.join(', ')}`;
}
