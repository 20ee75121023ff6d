/** A service and the registry that it is configured for. */

import { type FakeRegistry, type FakeRegistryOptions, startFakeRegistry } from './fake-registry.ts';
import { startTestService, type TestService, type TestServiceOptions } from './service.ts';
import { within } from './within.ts';

/** Both of them; disposing of the pair stops both. */
export interface Pair extends AsyncDisposable {
  readonly service: TestService;
  readonly registry: FakeRegistry;
  /** @returns once the registry answers nothing any more */
  untilQuiet(): Promise<void>;
  /** @returns once so many answers of the registry are held back */
  untilStalled(count?: number): Promise<void>;
}

/** How to start them. */
export interface PairOptions extends FakeRegistryOptions, TestServiceOptions {
  /** Variables of the service, put over `REGISTRY_URL`. */
  readonly env?: Readonly<Record<string, string>> | undefined;
}

/**
 * Start a registry, and a service for which it is the configured one.
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
  return {
    service,
    registry,
    untilQuiet: () => within(registry.waitForNoActiveRequests(), 'the registry to have nothing to do'),
    untilStalled: (count = 1) => within(registry.waitForStalled(count), `${count} stalled answers`),
    [Symbol.asyncDispose]: () => both.disposeAsync(),
  };
}

/** The value of `Authorization` for Basic. */
export function basic(username: string, password: string): string {
  return `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
}
