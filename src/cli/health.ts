import { get } from 'node:http';
import { isIPv6 } from 'node:net';
import { loadConfig } from '../config/config.ts';
import type { CommandCall } from './command.ts';
import { useListenOptions } from './options/listen.ts';
import { complain } from './output/error-lines.ts';
import { print } from './output/print.ts';

/** Longest wait for the answer, in milliseconds: less than the limit of a probe, which is often 10 s and more. */
const TIMEOUT_MS = 5_000;

/** Addresses to ask where the service listens on all of them: https://www.rfc-editor.org/rfc/rfc4291#section-2.5.2 */
const LOOPBACK: Readonly<Record<string, string>> = { '0.0.0.0': '127.0.0.1', '::': '::1' };

/** The `health` command. */
export async function run({ options, environment }: CommandCall): Promise<number> {
  const { host, port } = await useListenOptions(options, environment, () => loadConfig(environment).http);
  const target = LOOPBACK[host] ?? host;
  const url = `http://${isIPv6(target) ? `[${target}]` : target}:${port}/health`;
  try {
    const status = await ask(url);
    if (status === 200) return await print('ok\n');
    await complain(new Error(`${url} answers ${status}`));
  } catch (error) {
    await complain(new Error(`Cannot ask ${url}: ${error instanceof Error ? error.message : String(error)}`));
  }
  return 1;
}

async function ask(url: string): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  const request = get(url, { agent: false, signal: AbortSignal.timeout(TIMEOUT_MS) }, (response) => {
    response.resume();
    resolve(response.statusCode ?? 0);
  });
  request.on('error', reject);
  return await promise;
}
