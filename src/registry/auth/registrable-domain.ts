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

const NO_RULES: ReadonlySet<string> = new Set();

/**
 * The rules by top-level domain, without that label. They are split when a name under the domain is first judged: splitting all of
 * them at once takes 10 ms and more, in which nothing else runs.
 */
const rulesByTop = new Map<string, ReadonlySet<string>>();

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
  const rules = rulesOf(labels.at(-1) ?? '');
  for (let start = 0; start < labels.length - 1; start += 1) {
    const [first, ...parent] = labels.slice(start, -1);
    const name = [first, ...parent].join('.');
    if (rules.has(`!${name}`)) return parent.length + 1;
    if (rules.has(name) || rules.has(['*', ...parent].join('.'))) return parent.length + 2;
  }
  return 1;
}

function rulesOf(top: string): ReadonlySet<string> {
  const known = rulesByTop.get(top);
  if (known !== undefined) return known;
  const start = PUBLIC_SUFFIXES.indexOf(`;${top} `);
  if (start === -1) return NO_RULES;
  const end = PUBLIC_SUFFIXES.indexOf(';', start + 1);
  const rules = new Set(
    PUBLIC_SUFFIXES.slice(start + top.length + 2, end)
      .trimEnd()
      .split(' '),
  );
  rulesByTop.set(top, rules);
  return rules;
}

/** The name with the dot of the DNS root at its end is the same name. */
function canonical(hostname: string): string {
  return hostname.toLowerCase().replace(/\.$/, '');
}
