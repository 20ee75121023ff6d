/** A fake registry with mirrors, each a fake registry of its own, and the client of both on real sockets. */

import type { Digest } from '../../../src/image/digest.ts';
import type {
  Credential,
  ListedCredentials,
  StaticCredentials,
} from '../../../src/registry/auth/credentials.ts';
import type { MirrorReport } from '../../../src/registry/mirrors/mirror-health.ts';
import { parseMirrorRules } from '../../../src/registry/mirrors/mirror-rules.ts';
import {
  type OpenRepositoryOptions,
  openRegistryAccess,
  openRepository,
  type RegistryAccess,
} from '../../../src/registry/open-repository.ts';
import { type RegistryHost, registryHost } from '../../../src/registry/registry-host.ts';
import type { Repository } from '../../../src/registry/repository.ts';
import type { RegistryTls } from '../../../src/registry/transport/tls.ts';
import type { Timeouts } from '../../../src/registry/transport/transport.ts';
import {
  type FakeRegistry,
  type FakeRegistryOptions,
  startFakeRegistry,
} from '../../support/fake-registry.ts';
import { accessSettings, IMAGE, NO_CREDENTIAL, PATIENT, REPOSITORY } from '../support/scene.ts';

/** Path of each mirror. */
export const PREFIX = 'proxy/cache';

/** How to start a registry with mirrors. */
export interface MirroredOptions {
  readonly registry?: FakeRegistryOptions;
  /** The mirrors; one without defects unless given. */
  readonly mirrors?: readonly FakeRegistryOptions[];
  /** Further mirrors, by address. */
  readonly urls?: readonly string[];
  readonly accounts?: 'layers' | 'all';
  readonly timeouts?: Partial<Timeouts>;
  readonly tls?: RegistryTls;
}

/** A registry with mirrors. Disposing of it stops all of them. */
export interface Mirrored extends AsyncDisposable {
  readonly registry: FakeRegistry;
  readonly mirrors: readonly FakeRegistry[];
  readonly host: RegistryHost;
  readonly access: RegistryAccess;
  /** How mirrors answered, as `mirror-index operation result`. */
  reports(): readonly string[];
  /** The reports themselves. */
  readonly all: readonly MirrorReport[];
  /** Names of the sources that answered, as `mirror-index` or `registry`. */
  sources(): readonly string[];
  /** Opens the repository for one pull. */
  open(options?: Partial<OpenRepositoryOptions> & { readonly credential?: Credential }): Repository;
  /** The operator's credentials: entries of an auth file for mirrors, besides what is given. */
  fixed(mirrors: readonly number[], more?: Partial<StaticCredentials>): StaticCredentials;
  /** Paths of requests for manifests and blobs, without the token endpoint. */
  paths(server: FakeRegistry): readonly string[];
}

/** Starts a registry and its mirrors, each with {@link IMAGE}. */
export async function startMirrored({
  registry: ofRegistry = {},
  mirrors: ofMirrors = [{}],
  urls: more = [],
  accounts,
  timeouts = {},
  tls,
}: MirroredOptions = {}): Promise<Mirrored> {
  const registry = await startFakeRegistry(ofRegistry);
  const mirrors = await Promise.all(ofMirrors.map((options) => startFakeRegistry(options)));
  registry.push(REPOSITORY, '1', IMAGE);
  for (const mirror of mirrors) mirror.push(`${PREFIX}/${REPOSITORY}`, '1', IMAGE);
  const { host: address } = new URL(registry.origin);
  const urls = [...mirrors.map(({ origin }) => `${origin}/${PREFIX}`), ...more];
  const all: MirrorReport[] = [];
  const answered: string[] = [];
  const { limits, ...settings } = accessSettings();
  const access = openRegistryAccess({
    ...settings,
    allowedHosts: undefined,
    bodyLimits: limits,
    timeouts: { ...PATIENT, ...timeouts },
    proxyEnv: undefined,
    tls,
    mirrors: parseMirrorRules(`${address}=${urls.join('|')}`),
    mirrorAccounts: accounts,
    onMirror: (report) => void all.push(report),
    onSource: (source) => void answered.push(source),
  });
  const host = registryHost(new URL(registry.origin).protocol.slice(0, -1), address);
  const nameOf = (source: string) => (source === registry.origin ? 'registry' : String(urls.indexOf(source)));
  return {
    registry,
    mirrors,
    host,
    access,
    all,
    reports: () =>
      all.map(({ mirror, operation, result }) => `${urls.indexOf(mirror)} ${operation} ${result}`),
    sources: () => answered.map(nameOf),
    open: (options = {}) =>
      openRepository(access, { host, repository: REPOSITORY, credential: NO_CREDENTIAL, ...options }),
    fixed: (indexes, more = {}) => ({
      ...{ bearerToken: undefined, basic: undefined, boundTo: undefined, hosts: [] },
      ...more,
      listed: indexes.map(
        (index): ListedCredentials => ({
          origin: mirrors[index]?.origin ?? '',
          repository: `${PREFIX}/${REPOSITORY}`,
          credentials: { username: 'user', password: 'secret' },
        }),
      ),
    }),
    paths: ({ requests }) =>
      requests.filter(({ path }) => path.startsWith('/v2/')).map(({ method, path }) => `${method} ${path}`),
    [Symbol.asyncDispose]: async () => {
      access.close();
      await Promise.all([registry, ...mirrors].map((server) => server.close()));
    },
  };
}

/** The manifest of {@link IMAGE} by digest. */
export const MANIFEST_DIGEST = IMAGE.manifest.digest as Digest;
