import { isIP } from 'node:net';
import { PUBLIC_SUFFIXES } from './public-suffixes.ts';

/**
 * Domains of clouds that the Public Suffix List lacks, or has in part only. Their customers own names below them, at several
 * depths, so that no two names there are taken for those of one owner.
 */
const SHARED_DOMAINS: readonly string[] = [
  'amazonaws.com',
  'azure.com',
  'azurecontainerapps.io',
  'azurecr.cn',
  'azurecr.io',
  'azurecr.us',
  'cloudsmith.io',
  'jfrog.io',
  'pkg.dev',
  'windows.net',
];

/** The rules, once they are needed: splitting them takes some 2 ms, which a start without credentials does not spend. */
let rules: ReadonlySet<string> | undefined;

/**
 * Whether two hosts have one owner, judged by their names: they are equal, or lie under one registrable domain. IP addresses and
 * names without a dot match only themselves.
 *
 * @param a host name, in the form of `URL.hostname`
 * @param b another host name
 */
export function isSameOwner(a: string, b: string): boolean {
  if (canonical(a) === canonical(b)) return true;
  const domain = registrableDomain(a);
  return domain !== undefined && domain === registrableDomain(b);
}

/**
 * The registered part of a name: `example.com` of `auth.example.com`, `example.co.uk` of `registry.example.co.uk`. That is the
 * public suffix and one label more. The private section of the list counts, since a customer of `github.io` is not trusted with
 * the password of another.
 *
 * @returns `undefined` for IP addresses, single labels, suffixes, and names below shared domains
 * @see https://github.com/publicsuffix/list/wiki/Format#formal-algorithm
 */
export function registrableDomain(hostname: string): string | undefined {
  if (isIP(hostname) !== 0 || hostname.startsWith('[')) return undefined;
  const name = canonical(hostname);
  const labels = name.split('.');
  if (labels.includes('')) return undefined;
  if (SHARED_DOMAINS.some((domain) => name === domain || name.endsWith(`.${domain}`))) return undefined;
  const start = labels.length - suffixLength(labels) - 1;
  return start < 0 ? undefined : labels.slice(start).join('.');
}

/** Number of labels in the public suffix of a name: that of its longest rule, or one without a rule. */
function suffixLength(labels: readonly string[]): number {
  rules ??= new Set(PUBLIC_SUFFIXES.trim().split(/\s+/));
  for (let start = 0; start < labels.length; start += 1) {
    const [, ...parent] = labels.slice(start);
    const name = labels.slice(start).join('.');
    if (rules.has(`!${name}`)) return parent.length;
    if (rules.has(name) || rules.has(`*.${parent.join('.')}`)) return parent.length + 1;
  }
  return 1;
}

/** The name with the dot of the DNS root at its end is the same name. */
function canonical(hostname: string): string {
  return hostname.toLowerCase().replace(/\.$/, '');
}
