/**
 * Docker Hub and GHCR on this machine, under their own names and over https: a token service on another host, blobs on a storage host
 * behind signed URLs, and a rate limit that a test can turn on. The service reaches them through a proxy that knows where the names
 * lead, and trusts a certificate authority that is made for the test.
 */
import { readFile } from 'node:fs/promises';
import { type FakeRegistry, startFakeRegistry } from '../support/fake-registry.ts';
import type { AuthSettings } from '../support/fake-token.ts';
import { startForwardProxy } from '../support/forward-proxy.ts';
import type { TlsSettings } from '../support/listening.ts';
import { type ScriptedServer, startScriptedServer } from '../support/scripted-server.ts';
import { serveSignedBlobs } from '../support/signed-blobs.ts';
import { makeAuthority, makeServerCertificate } from './certificates.ts';

/** Hosts of the public registries. */
const HOSTS = {
  hub: 'registry-1.docker.io',
  hubTokens: 'auth.docker.io',
  hubStorage: 'production.cloudflare.docker.com',
  ghcr: 'ghcr.io',
  ghcrStorage: 'pkg-containers.githubusercontent.com',
} as const;

/** A public registry. */
export interface PublicRegistry {
  readonly registry: FakeRegistry;
  /** Where tokens come from. */
  readonly tokens: FakeRegistry;
  /** Where blobs come from. It refuses requests that carry `Authorization`. */
  readonly storage: ScriptedServer;
}

/** Both of them. */
export interface PublicRegistries {
  readonly hub: PublicRegistry;
  readonly ghcr: PublicRegistry;
  /** Variables with which the service reaches them. */
  readonly env: Readonly<Record<string, string>>;
}

/**
 * Starts both registries.
 *
 * @param directory for keys and certificates
 * @param users who may pull private images, at both
 */
export async function startPublicRegistries(
  stack: AsyncDisposableStack,
  directory: string,
  users: ReadonlyMap<string, string>,
): Promise<PublicRegistries> {
  const authority = await makeAuthority(directory);
  const names = Object.values(HOSTS).map((host) => `DNS:${host}`);
  const pair = await makeServerCertificate(directory, authority, names);
  const tls = { key: await readFile(pair.key, 'utf8'), cert: await readFile(pair.certificate, 'utf8') };

  const hubAuth: Partial<AuthSettings> = {
    mode: 'token',
    users: new Map(users),
    realm: `https://${HOSTS.hubTokens}/token`,
    service: 'registry.docker.io',
  };
  const hub = await startPublic(stack, tls, HOSTS.hubStorage, hubAuth);
  const hubTokens = stack.use(
    await startFakeRegistry({ tls, tokens: hub.registry.tokens, auth: hub.registry.auth }),
  );
  // GHCR has its token endpoint on its own host.
  const ghcr = await startPublic(stack, tls, HOSTS.ghcrStorage, {
    mode: 'token',
    users: new Map(users),
    realm: `https://${HOSTS.ghcr}/token`,
    service: 'ghcr.io',
  });

  const ports: Readonly<Record<string, number>> = {
    [HOSTS.hub]: hub.registry.port,
    [HOSTS.hubTokens]: hubTokens.port,
    [HOSTS.hubStorage]: hub.storage.port,
    [HOSTS.ghcr]: ghcr.registry.port,
    [HOSTS.ghcrStorage]: ghcr.storage.port,
  };
  const proxy = stack.use(
    // A name that is not here leads to a closed port.
    await startForwardProxy((hostname) => ({ host: '127.0.0.1', port: ports[hostname] ?? 1 })),
  );
  return {
    hub: { ...hub, tokens: hubTokens },
    ghcr: { ...ghcr, tokens: ghcr.registry },
    env: { HTTPS_PROXY: proxy.origin, NODE_EXTRA_CA_CERTS: authority.certificate },
  };
}

async function startPublic(
  stack: AsyncDisposableStack,
  tls: TlsSettings,
  storageHost: string,
  auth: Partial<AuthSettings>,
): Promise<Omit<PublicRegistry, 'tokens'>> {
  const registry = stack.use(
    await startFakeRegistry({
      ...{ tls, auth },
      defects: { redirectBlobsTo: { to: `https://${storageHost}` } },
    }),
  );
  const storage = stack.use(await startScriptedServer(serveSignedBlobs(registry.blobs), { tls }));
  return { registry, storage };
}
