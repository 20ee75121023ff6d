import { DOCKER_HUB, parseHost, type RegistryHost } from '../registry-host.ts';

/** Addresses of Docker Hub in keys of files. `index.docker.io/v1/` is the one that `docker login` writes. */
const DOCKER_HUB_HOSTS = ['docker.io', 'index.docker.io', 'registry-1.docker.io'];

/** Which keys fit a registry. */
export interface KeyOptions {
  /** Whether a key also fits a registry over plain http if it names neither http nor a port. */
  readonly allowsPlainHttp?: boolean | undefined;
}

/** Entries of an auth file by key. The keys are parsed once, since each request to a registry looks them up. */
export class AuthTable {
  readonly entries: ReadonlyMap<string, unknown>;
  readonly #byHost: ReadonlyMap<string, readonly Key[]>;

  constructor(entries: ReadonlyMap<string, unknown>) {
    this.entries = entries;
    const keys = Array.from(entries.keys()).flatMap((text, index) => parseKey(text, index) ?? []);
    this.#byHost = Map.groupBy(keys, ({ hostname }) => hostname);
  }

  /**
   * The keys that fit a repository: the longest path first, and of equal ones first those without a scheme, as podman writes them.
   *
   * @param repository name in the registry, such as `library/nginx`; `undefined` fits every path
   */
  matching(
    host: RegistryHost,
    repository: string | undefined,
    { allowsPlainHttp = false }: KeyOptions,
  ): readonly string[] {
    const registry = new URL(host.origin);
    const isHub = host.origin === DOCKER_HUB.origin;
    const names = isHub ? DOCKER_HUB_HOSTS : [registry.hostname.replace(/\.$/, '')];
    const fits = ({ port, path, scheme }: Key) => {
      if ((port ?? defaultPort(registry)) !== portOf(registry)) return false;
      const isForHttp = scheme === 'http' || (scheme === undefined && port !== undefined) || allowsPlainHttp;
      if (registry.protocol === 'http:' && !isForHttp) return false;
      return (
        repository === undefined || path === '' || repository === path || repository.startsWith(`${path}/`)
      );
    };
    return names
      .flatMap((name) => this.#byHost.get(name) ?? [])
      .filter(fits)
      .toSorted(
        (a, b) =>
          b.path.length - a.path.length ||
          Number(a.scheme !== undefined) - Number(b.scheme !== undefined) ||
          a.index - b.index,
      )
      .map(({ text }) => text);
  }
}

/** A key of a file. */
interface Key {
  readonly text: string;
  /** Its place in the file. */
  readonly index: number;
  readonly scheme: string | undefined;
  readonly hostname: string;
  readonly port: number | undefined;
  /** The path of a repository; empty for all of the registry. */
  readonly path: string;
}

/**
 * Parses a key of a file:
 *
 *     key    ::= host [ ":" port ] [ "/" path of a repository ]
 *     legacy ::= ( "http://" | "https://" ) host [ ":" port ] [ "/" anything ], or host "/v1/" or "/v2/"
 *
 * A path of the legacy form is that of an API and names no repository.
 *
 * @returns `undefined` for a text that names no host
 */
function parseKey(text: string, index: number): Key | undefined {
  const {
    scheme,
    address = '',
    path = '',
  } = /^(?:(?<scheme>https?):\/\/)?(?<address>[^/]*)(?:\/(?<path>.*))?$/is.exec(text)?.groups ?? {};
  try {
    const { hostname, port } = parseHost(address);
    const isApi = scheme !== undefined || /^v[12]\/?$/.test(path);
    const repository = isApi ? '' : path.replace(/\/$/, '');
    return { text, index, scheme: scheme?.toLowerCase(), hostname, port, path: repository };
  } catch {
    return undefined;
  }
}

function defaultPort({ protocol }: URL): number {
  return protocol === 'https:' ? 443 : 80;
}

function portOf(url: URL): number {
  return url.port === '' ? defaultPort(url) : Number(url.port);
}
