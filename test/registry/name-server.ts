/**
 * Names for this process alone: `dns.lookup` is replaced, so that the client under test dials real sockets under names
 * that no name server has.
 */

import dns from 'node:dns';
import { syncBuiltinESMExports } from 'node:module';
import { isIP } from 'node:net';
import type { TestContext } from 'node:test';

/** A name server with one zone. */
export interface NameServer {
  /** Every name that was asked for, in order. */
  readonly asked: readonly string[];
}

/**
 * Answers `dns.lookup` from a table until the test ends. Addresses, as the system's resolver does it, are answered with
 * themselves; other names do not exist.
 *
 * @param zone addresses by name; a list is answered in its order, a function is called for each question
 */
export function serveNames(
  t: TestContext,
  zone: Readonly<Record<string, readonly string[] | (() => readonly string[])>>,
): NameServer {
  const asked: string[] = [];
  const lookup = (hostname: string, ...rest: readonly unknown[]): void => {
    asked.push(hostname);
    const callback = rest.at(-1) as (error: Error | null, ...found: unknown[]) => void;
    const { all = false } = (rest.length > 1 ? rest[0] : {}) as dns.LookupOptions;
    const entry = isIP(hostname) === 0 ? zone[hostname] : [hostname];
    const addresses = typeof entry === 'function' ? entry() : entry;
    const found = addresses?.map((address) => ({ address, family: isIP(address) }));
    if (found === undefined) {
      const error = Object.assign(new Error(`getaddrinfo ENOTFOUND ${hostname}`), { code: 'ENOTFOUND' });
      process.nextTick(callback, error);
    } else if (all) {
      process.nextTick(callback, null, found);
    } else {
      process.nextTick(callback, null, found[0]?.address, found[0]?.family);
    }
  };
  // The overloads of dns.lookup are many: options or none, one address or all.
  const replaced = t.mock.method(dns, 'lookup', lookup as unknown as typeof dns.lookup);
  syncBuiltinESMExports();
  t.after(() => {
    replaced.mock.restore();
    syncBuiltinESMExports();
  });
  return { asked };
}
