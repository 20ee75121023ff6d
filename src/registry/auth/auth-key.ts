import { DOCKER_HUB, parseHost, type RegistryHost } from '../registry-host.ts';

/** Addresses of Docker Hub in keys of files. `index.docker.io/v1/` is the one that `docker login` writes. */
const DOCKER_HUB_HOSTS = new Set(['docker.io', 'index.docker.io', 'registry-1.docker.io']);

/**
 * The keys of an auth file that fit a repository: the longest path first, and of equal ones first those without a scheme, as podman
 * writes them.
 *
 * @param repository name in the registry, such as `library/nginx`; `undefined` fits every path
 * @param options whether a key also fits a registry over plain http if it names neither http nor a port
 */
export function matchingKeys(
  keys: Iterable<string>,
  host: RegistryHost,
  repository: string | undefined,
  { allowsPlainHttp = false }: { readonly allowsPlainHttp?: boolean | undefined },
): readonly string[] {
  const registry = new URL(host.origin);
  return [...keys]
    .map((key) => ({ key, ...parseKey(key) }))
    .filter(({ hostname, port, path, scheme }) => {
      if (hostname === undefined) return false;
      if (host.origin === DOCKER_HUB.origin) {
        if (!DOCKER_HUB_HOSTS.has(hostname) || (port ?? 443) !== 443) return false;
      } else {
        if (
          hostname !== registry.hostname.replace(/\.$/, '') ||
          (port ?? defaultPort(registry)) !== portOf(registry)
        )
          return false;
        const isForHttp =
          scheme === 'http' || (scheme === undefined && port !== undefined) || allowsPlainHttp;
        if (registry.protocol === 'http:' && !isForHttp) return false;
      }
      if (repository === undefined) return true;
      return path === '' || repository === path || repository.startsWith(`${path}/`);
    })
    .toSorted(
      (a, b) =>
        b.path.length - a.path.length || Number(a.scheme !== undefined) - Number(b.scheme !== undefined),
    )
    .map(({ key }) => key);
}

/**
 * Parses a key of a file:
 *
 *     key    ::= host [ ":" port ] [ "/" path of a repository ]
 *     legacy ::= ( "http://" | "https://" ) host [ ":" port ] [ "/" anything ], or host "/v1/" or "/v2/"
 *
 * A path of the legacy form is that of an API and names no repository.
 */
function parseKey(key: string): {
  readonly scheme?: string | undefined;
  readonly hostname?: string;
  readonly port?: number | undefined;
  readonly path: string;
} {
  const {
    scheme,
    address = '',
    path = '',
  } = /^(?:(?<scheme>https?):\/\/)?(?<address>[^/]*)(?:\/(?<path>.*))?$/is.exec(key)?.groups ?? {};
  try {
    const { hostname, port } = parseHost(address);
    const isApi = scheme !== undefined || /^v[12]\/?$/.test(path);
    return { scheme: scheme?.toLowerCase(), hostname, port, path: isApi ? '' : path.replace(/\/$/, '') };
  } catch {
    return { path: '' };
  }
}

function defaultPort({ protocol }: URL): number {
  return protocol === 'https:' ? 443 : 80;
}

function portOf(url: URL): number {
  return url.port === '' ? defaultPort(url) : Number(url.port);
}
