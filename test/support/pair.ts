/** A service and the registry that it is configured for. */

import assert from 'node:assert/strict';
import { type FakeRegistry, type FakeRegistryOptions, startFakeRegistry } from './fake-registry.ts';
import {
  type Reply,
  type RequestOptions,
  startTestService,
  type TestService,
  type TestServiceOptions,
} from './service.ts';
import { within } from './within.ts';

/** A service and its registry. Disposing of the pair stops both. */
export interface Pair extends AsyncDisposable {
  readonly service: TestService;
  readonly registry: FakeRegistry;
  /** Sends a request to the service. `{host}` in the path stands for the address of the registry. */
  request(path: string, options?: RequestOptions): Promise<Reply>;
  /** Resolves when the registry answers no request any more. */
  untilQuiet(): Promise<void>;
  /** Resolves when this many answers of the registry are held back; 1 unless given. */
  untilStalled(count?: number): Promise<void>;
  /** Checks that no request to the registry runs and that the service has no file open. */
  assertIdle(): Promise<void>;
}

/** How to start a pair. */
export interface PairOptions extends FakeRegistryOptions, TestServiceOptions {
  /** Variables of the service, in addition to `REGISTRY_URL`. */
  readonly env?: Readonly<Record<string, string>> | undefined;
}

/**
 * Starts a registry, and a service for which it is the configured one.
 *
 * @param fill puts images into the registry
 */
export async function startPair(options: PairOptions, fill: (registry: FakeRegistry) => void): Promise<Pair> {
  const { env, retry, tamper, tamperDraft, onDamage, ...registryOptions } = options;
  await using stack = new AsyncDisposableStack();
  const registry = stack.use(await startFakeRegistry(registryOptions));
  fill(registry);
  const service = stack.use(
    await startTestService({ REGISTRY_URL: registry.url, ...env }, { retry, tamper, tamperDraft, onDamage }),
  );
  const both = stack.move();
  const untilQuiet = () => within(registry.waitForNoActiveRequests(), 'the end of all registry requests');
  return {
    service,
    registry,
    request: (path, request) => service.request(path.replaceAll('{host}', registry.host), request),
    untilQuiet,
    untilStalled: (count = 1) => within(registry.waitForStalled(count), `${count} stalled answers`),
    assertIdle: async () => {
      await untilQuiet();
      assert.equal(await service.openFiles(), 0);
    },
    [Symbol.asyncDispose]: () => both.disposeAsync(),
  };
}

/** The value of `Authorization` for Basic. */
export function basic(username: string, password: string): string {
  return `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
}
