/** Host names for this process: replaces `dns.lookup`, so that the client under test dials real sockets under any name. */

import dns from 'node:dns';
import { syncBuiltinESMExports } from 'node:module';
import { isIP } from 'node:net';
import type { TestContext } from 'node:test';

/** A name server with one zone. */
export interface NameServer {
  /** Every name that was looked up, in order. */
  readonly lookups: readonly string[];
}

/**
 * Answers `dns.lookup` from a table until the test ends. An IP address resolves to itself, as with the system's
 * resolver. Other names do not exist.
 *
 * @param zone addresses by name; a function is called for each lookup
 */
export function serveNames(
  t: TestContext,
  zone: Readonly<Record<string, readonly string[] | (() => readonly string[])>>,
): NameServer {
  const lookups: string[] = [];
  const lookup = (hostname: string, ...rest: readonly unknown[]): void => {
    lookups.push(hostname);
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
  // dns.lookup has many overloads: with and without options, for one address and for all.
  const replaced = t.mock.method(dns, 'lookup', lookup as unknown as typeof dns.lookup);
  syncBuiltinESMExports();
  t.after(() => {
    replaced.mock.restore();
    syncBuiltinESMExports();
  });
  return { lookups };
}
