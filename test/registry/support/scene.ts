/** The registry client as the service builds it, on real sockets, with limits that suit a test. */

import type { Digest } from '../../../src/image/digest.ts';
import type { Descriptor } from '../../../src/image/manifest.ts';
import type { BasicCredentials, Credential } from '../../../src/registry/auth/credentials.ts';
import { TokenSource } from '../../../src/registry/auth/token.ts';
import { openRepository, type RegistryAccess } from '../../../src/registry/open-repository.ts';
import { type RegistryHost, registryHost } from '../../../src/registry/registry-host.ts';
import type { Repository } from '../../../src/registry/repository.ts';
import type { BodyLimits } from '../../../src/registry/repository-client.ts';
import { HttpTransport } from '../../../src/registry/transport/http-transport.ts';
import type { RetryPolicy } from '../../../src/registry/transport/retry.ts';
import type { RegistryTls } from '../../../src/registry/transport/tls.ts';
import type { Timeouts } from '../../../src/registry/transport/transport.ts';
import { readAll } from '../../support/collect.ts';
import { parseDigest } from '../../support/digest.ts';
import { documentsInMemory } from '../../support/documents.ts';
import {
  type FakeRegistry,
  type FakeRegistryOptions,
  startFakeRegistry,
} from '../../support/fake-registry.ts';
import { makeImage, makeLayer } from '../../support/image.ts';
import { type ScriptedServer, startScriptedServer } from '../../support/scripted-server.ts';

/** Limits that only a fault reaches. */
export const PATIENT: Timeouts = { connectMs: 60_000, responseMs: 60_000, stallMs: 60_000 };

/** A limit that a test waits for: longer than any step on loopback takes on a busy machine. */
export const SHORT_MS = 250;

/** Waits of a millisecond; `Retry-After` may ask for two seconds. */
export const RETRY: RetryPolicy = { attempts: 3, baseMs: 1, maxMs: 2000 };

export const LIMITS: BodyLimits = {
  manifestBytes: 64 * 1024,
  configBytes: 64 * 1024,
  tokenBytes: 16 * 1024,
  errorBytes: 4096,
};

export const REPOSITORY = 'team/app';
export const SCOPE = `repository:${REPOSITORY}:pull`;

/** The credentials that the fake registry accepts. */
export const USER: BasicCredentials = { username: 'user', password: 'secret' };
export const BASIC = `Basic ${Buffer.from('user:secret').toString('base64')}`;

export const NO_CREDENTIAL: Credential = { type: 'none' };
export const CLIENT: Credential = { type: 'basic', basic: USER, source: 'client' };
export const OPERATOR: Credential = { type: 'basic', basic: USER, source: 'environment' };
export const STATIC_TOKEN: Credential = { type: 'bearer', token: 'static-token-7Q' };

/** An image with a small layer and a layer that takes several reads. */
export const IMAGE = makeImage({
  layers: [
    { tar: makeLayer({ 'etc/motd': 'hello\n' }) },
    { tar: makeLayer({ big: Buffer.alloc(300_000, 'x') }), compression: 'none' },
  ],
});

export const MANIFEST: Descriptor = {
  mediaType: IMAGE.manifest.mediaType,
  digest: parseDigest(IMAGE.manifest.digest),
  size: IMAGE.manifest.bytes.length,
};

export const CONFIG: Descriptor = {
  mediaType: 'application/vnd.oci.image.config.v1+json',
  digest: parseDigest(IMAGE.config.digest),
  size: IMAGE.config.bytes.length,
};

/** The blob of the layer that takes several reads. */
export const BIG = IMAGE.layers[1]?.blob ?? Buffer.alloc(0);
export const BIG_LAYER = layerOf(1);

/** @returns the descriptor of a layer of {@link IMAGE} */
export function layerOf(index: number): Descriptor {
  const layer = IMAGE.layers[index];
  if (layer === undefined) throw new RangeError(`Cannot describe layer ${index}: there is none`);
  const { mediaType, digest, blob } = layer;
  return { mediaType, digest: digest as Digest, size: blob.length };
}

/** What all pulls of a test share. Disposing of it closes the connections. */
export interface TestAccess extends RegistryAccess, Disposable {
  readonly wire: HttpTransport;
  /**
   * Opens a repository for one pull.
   *
   * @param server its scheme and host are those of a request
   * @param settings what is configured for the registry
   */
  open(
    server: { readonly origin: string },
    credential?: Credential,
    settings?: Partial<RegistryHost>,
    repository?: string,
  ): Repository;
}

/** Settings that differ from the defaults of a test. */
export interface AccessOptions extends Partial<Omit<RegistryAccess, 'wire'>> {
  readonly timeouts?: Partial<Timeouts>;
  readonly tls?: RegistryTls;
}

/** @returns settings of {@link openRepository} for a test, without a transport */
export function accessSettings(): Omit<RegistryAccess, 'wire'> {
  return {
    tokens: new TokenSource(LIMITS),
    trustedRealms: [],
    limits: LIMITS,
    documents: documentsInMemory(),
    userAgent: 'test',
    propagation: [],
    retry: RETRY,
  };
}

/** @returns an access with an {@link HttpTransport} of its own */
export function openAccess({ timeouts, tls, ...options }: AccessOptions = {}): TestAccess {
  const wire = new HttpTransport({
    timeouts: { ...PATIENT, ...timeouts },
    proxyEnv: undefined,
    userAgent: 'test',
    tls,
  });
  const access = { ...accessSettings(), wire, ...options };
  return {
    ...access,
    open: ({ origin }, credential = NO_CREDENTIAL, settings = {}, repository = REPOSITORY) => {
      const url = new URL(origin);
      const host = { ...registryHost(url.protocol.slice(0, -1), url.host), ...settings };
      return openRepository(access, { host, repository, credential });
    },
    [Symbol.dispose]: () => wire.close(),
  };
}

/** A fake registry that has {@link IMAGE} as tag 1. */
export async function startRegistry(options: FakeRegistryOptions = {}): Promise<FakeRegistry> {
  const server = await startFakeRegistry(options);
  server.push(REPOSITORY, '1', IMAGE);
  return server;
}

/** A registry of {@link startRegistry} and an access to it. Disposing of the scene stops both. */
export interface Scene extends AsyncDisposable {
  readonly server: FakeRegistry;
  readonly access: TestAccess;
  /** A repository without credentials. */
  readonly client: Repository;
  /** Opens the registry for a pull, as {@link TestAccess.open} does. */
  open(credential?: Credential, settings?: Partial<RegistryHost>, repository?: string): Repository;
}

/** Starts a registry and opens an access to it. */
export async function startScene(options: FakeRegistryOptions = {}, access?: AccessOptions): Promise<Scene> {
  const server = await startRegistry(options);
  const opened = openAccess(access);
  const open: Scene['open'] = (...options) => opened.open(server, ...options);
  const dispose = async (): Promise<void> => {
    opened[Symbol.dispose]();
    await server.close();
  };
  return { server, access: opened, client: open(), open, [Symbol.asyncDispose]: dispose };
}

/** Settings that make a challenge unnecessary. */
export function configured({ origin }: FakeRegistry): Partial<RegistryHost> {
  return { tokenEndpoint: new URL(`${origin}/token`), service: 'fake-registry' };
}

/** The values of a header in the requests whose path matches, in their order. */
export function headersOf(
  { requests }: Pick<ScriptedServer, 'requests'>,
  name: 'authorization' | 'range' = 'authorization',
  path = /./,
): (string | undefined)[] {
  return requests.filter((request) => path.test(request.path)).map(({ headers }) => headers[name]);
}

/** For `serveNames`: `localhost` may be `::1` on this machine, and the test servers listen on 127.0.0.1. */
export const LOOPBACK = { localhost: ['127.0.0.1'] };

/** The origin of a server under another name: another origin, another host. */
export function alias({ origin }: { readonly origin: string }, name: string): string {
  return Object.assign(new URL(origin), { hostname: name }).origin;
}

/** A server that gives the same token to every request. */
export async function startRealm(): Promise<ScriptedServer> {
  return await startScriptedServer((_, response) => void response.end('{"token":"t"}'));
}

/** A signal that never aborts. */
export function never(): AbortSignal {
  return new AbortController().signal;
}

/** Fetches the manifest of tag 1. */
export async function pull(repository: Repository) {
  return await repository.getManifest('1', never());
}

/** Reads a layer to its end. */
export async function readLayer(
  repository: Repository,
  descriptor: Descriptor = BIG_LAYER,
  signal = never(),
): Promise<Buffer> {
  return await readAll(await repository.openLayer(descriptor, signal));
}
