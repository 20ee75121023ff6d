/** The servers around a service under comparison: the same ones, on the same ports, for both sides. */

import type { Defects } from '../../../test/support/defects.ts';
import {
  type FakeRegistry,
  type FakeRegistryOptions,
  startFakeRegistry,
} from '../../../test/support/fake-registry.ts';
import { type AuthSettings, authSettings } from '../../../test/support/fake-token.ts';
import { type ForwardProxy, startForwardProxy } from '../../../test/support/forward-proxy.ts';
import type { RecordedRequest } from '../../../test/support/scripted-server.ts';
import { makeCertificates } from '../../../test/support/tls.ts';
import { fillRegistry, IMAGES } from './images.ts';

/** How the servers of a scenario differ from well-behaved ones without credentials. */
export interface WorldOptions {
  readonly auth?: Partial<AuthSettings>;
  /** The second server speaks https, with a certificate that a service trusts only if the scenario configures it. */
  readonly isOtherSecure?: boolean;
  readonly otherAuth?: Partial<AuthSettings>;
}

/** A request that reached one of the servers. */
export interface UpstreamRequest extends RecordedRequest {
  /** Which one: `registry`, `other` or `proxy`. */
  readonly server: string;
}

/** Running servers. Disposing of them stops them. */
export interface World extends AsyncDisposable {
  /** The registry that the service is configured for, unless a scenario says otherwise. */
  readonly registry: FakeRegistry;
  /** Another origin: a registry that only a path names, storage that blobs are redirected to, a token endpoint. */
  readonly other: FakeRegistry;
  /** A forward proxy. Whatever host it is asked for, it leads to `other`. */
  readonly proxy: ForwardProxy;
  /** Puts everything back to how it was at the start: images, tags, credentials, switches. */
  reset(): Promise<void>;
  /** Requests that have reached any of the servers since the last call. */
  takeRequests(): readonly UpstreamRequest[];
}

/** Start the servers of a scenario. */
export async function startWorld(options: WorldOptions = {}): Promise<World> {
  await using stack = new AsyncDisposableStack();
  const { auth, otherAuth, isOtherSecure = false } = options;
  const start = async (settings: FakeRegistryOptions) => stack.use(await startFakeRegistry(settings));
  const registry = await start({ ...(auth && { auth }) });
  const tls = isOtherSecure ? await makeCertificates() : undefined;
  const other = await start({ tls, ...(otherAuth && { auth: otherAuth }) });
  const proxy = stack.use(await startForwardProxy(() => ({ host: '127.0.0.1', port: other.port })));
  const marks = { registry: 0, other: 0, proxy: 0 };
  const seen = {
    registry: registry.requests,
    other: other.requests,
    get proxy() {
      return proxy.requests.map(({ method, target, headers }) => ({ method, path: target, headers }));
    },
  };
  const all = stack.move();
  return {
    registry,
    other,
    proxy,
    reset: async () => {
      restore(registry, auth);
      restore(other, otherAuth);
      await fillRegistry(registry, other.origin);
      await fillRegistry(other, other.origin);
      other.push('team/foreign-layer', '1', IMAGES.FOREIGN_LAYER);
    },
    takeRequests: () =>
      (['registry', 'other', 'proxy'] as const).flatMap((server) => {
        const fresh = seen[server].slice(marks[server]);
        marks[server] += fresh.length;
        return fresh.map((request) => ({ ...request, server }));
      }),
    [Symbol.asyncDispose]: () => all.disposeAsync(),
  };
}

function restore(registry: FakeRegistry, auth: Partial<AuthSettings> | undefined): void {
  registry.releaseStalled();
  registry.tokens.revokeAll();
  for (const name of Object.keys(registry.defects)) delete registry.defects[name as keyof Defects];
  Object.assign(registry.auth, authSettings(auth));
}
