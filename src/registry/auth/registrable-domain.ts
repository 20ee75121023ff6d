import { isIP } from 'node:net';

/**
 * Second-level labels under which country registries sell names, as in `example.gouv.fr`. Labels of up to three
 * letters, such as `co`, need no entry: see {@link registrableDomain}.
 */
const SECOND_LEVELS = new Set(['gouv', 'govt', 'asso', 'info', 'name', 'school']);

/**
 * Domains in which each customer owns a name, so that two names may have different owners. These host registries and
 * their storage. The private section of the Public Suffix List has more.
 */
const SHARED_DOMAINS = new Set([
  'amazonaws.com',
  'azure.com',
  'azurecr.io',
  'azurewebsites.net',
  'cloudapp.net',
  'cloudfront.net',
  'cloudsmith.io',
  'fly.dev',
  'github.io',
  'gitlab.io',
  'herokuapp.com',
  'jfrog.io',
  'netlify.app',
  'ngrok.io',
  'onrender.com',
  'pages.dev',
  'pkg.dev',
  'r2.dev',
  'run.app',
  'vercel.app',
  'windows.net',
  'workers.dev',
]);

/**
 * Whether two hosts have one owner, judged by their names: they are equal, or lie under one registrable domain. Prefers
 * "no": a wrong "no" makes a token request anonymous, a wrong "yes" leaks a password. A suffix that is only in the
 * Public Suffix List, such as `blog.br`, is still taken for a registrable domain. IP addresses and names without a dot
 * match only themselves.
 *
 * @param a host name, in the form of `URL.hostname`
 * @param b another host name
 */
export function isSameOwner(a: string, b: string): boolean {
  if (a === b) return true;
  const domain = registrableDomain(a);
  return domain !== undefined && domain === registrableDomain(b);
}

/**
 * The registered part of a name: `example.com` of `auth.example.com`, `example.co.uk` of `registry.example.co.uk`. The
 * Public Suffix List would be a dependency at run time. This uses the rule of browsers before that list: under a
 * two-letter country code, a short second level belongs to the suffix.
 *
 * @returns `undefined` for IP addresses, single labels, suffixes, and names below shared domains
 * @see https://publicsuffix.org/list/
 */
export function registrableDomain(hostname: string): string | undefined {
  if (isIP(hostname) !== 0 || hostname.startsWith('[')) return undefined;
  // The name with the dot of the DNS root at its end is the same name.
  const labels = hostname.replace(/\.$/, '').split('.');
  const [second = '', top = ''] = labels.slice(-2);
  if (SHARED_DOMAINS.has(`${second}.${top}`)) return undefined;
  const isCountryLevel = top.length === 2 && (second.length <= 3 || SECOND_LEVELS.has(second));
  const suffixLength = isCountryLevel ? 2 : 1;
  return labels.length > suffixLength ? labels.slice(-suffixLength - 1).join('.') : undefined;
}
