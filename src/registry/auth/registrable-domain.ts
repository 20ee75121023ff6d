import { isIP } from 'node:net';

/**
 * Second levels that country registries sell names below, as in `example.co.uk`. Three letters and fewer need no list:
 * see {@link registrableDomain}.
 */
const SECOND_LEVELS = new Set(['gouv', 'govt', 'asso', 'info', 'name', 'school']);

/**
 * Domains whose customers each own a name somewhere below them, so that no two names there need have one owner. Taken
 * from what registries and their storage run on; the Public Suffix List's private section has the rest.
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
 * Whether two hosts belong to one owner as far as their names tell: the same name, or names below one registrable
 * domain. Leans towards "no": a wrong "no" makes an anonymous token request, a wrong "yes" gives a password away. A suffix
 * that only the Public Suffix List knows, such as `blog.br`, still passes for somebody's own.
 * Addresses, and names without a dot, share nothing but themselves.
 *
 * @param a host name as in `URL.hostname`
 * @param b the other
 */
export function isSameOwner(a: string, b: string): boolean {
  if (a === b) return true;
  const domain = registrableDomain(a);
  return domain !== undefined && domain === registrableDomain(b);
}

/**
 * The part of a name that somebody registered: `example.com` of `auth.example.com`, `example.co.uk` of
 * `registry.example.co.uk`. Without the Public Suffix List (no dependency at run time) this goes by the shape that
 * browsers used before there was one: under a two-letter country code, a short second level is the registry's own.
 *
 * @returns `undefined` for addresses, for single labels, for names that are no longer than a suffix, and below shared
 *   domains
 * @see https://publicsuffix.org/list/
 */
export function registrableDomain(hostname: string): string | undefined {
  if (isIP(hostname) !== 0 || hostname.startsWith('[')) return undefined;
  // A name may end in the dot of the root: it is the same name.
  const labels = hostname.replace(/\.$/, '').split('.');
  const [second = '', top = ''] = labels.slice(-2);
  if (SHARED_DOMAINS.has(`${second}.${top}`)) return undefined;
  const isCountryLevel = top.length === 2 && (second.length <= 3 || SECOND_LEVELS.has(second));
  const suffixLength = isCountryLevel ? 2 : 1;
  return labels.length > suffixLength ? labels.slice(-suffixLength - 1).join('.') : undefined;
}
