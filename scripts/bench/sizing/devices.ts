/** Clients as devices are: they read slowly, or not at all, and come back after a 503 when `Retry-After` says. */

import { get, type IncomingMessage } from 'node:http';
import { connect, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

/** Interval in which a slow reader reads, in milliseconds. */
const TICK_MS = 50;

/** Longest time without an answer, in milliseconds. */
const ANSWER_MS = 300_000;

/** What one device saw. */
export interface DeviceResult {
  /** From the first request to the last byte. */
  readonly seconds: number;
  readonly bytes: number;
  /** Number of answers with status 503. */
  readonly refused: number;
}

/** A part of an archive. */
export interface Part {
  readonly start: number;
  readonly bytes: number;
}

/**
 * Downloads an archive, or a part, with a limited rate. A 503 is repeated after `Retry-After`.
 *
 * @throws Error for another answer, or one that is cut
 */
export async function downloadSlowly(
  url: string,
  bytesPerSecond: number,
  part?: Part,
): Promise<DeviceResult> {
  const headers = part && { Range: `bytes=${part.start}-${part.start + part.bytes - 1}` };
  const begun = performance.now();
  for (let refused = 0; ; refused += 1) {
    const response = await ask(url, headers);
    if (response.statusCode === (part === undefined ? 200 : 206)) {
      const bytes = await readSlowly(response, bytesPerSecond);
      return { seconds: (performance.now() - begun) / 1000, bytes, refused };
    }
    response.resume();
    const retryAfter = Number(response.headers['retry-after']);
    if (response.statusCode !== 503 || !(retryAfter > 0)) {
      throw new Error(`${url} has answered ${response.statusCode}`);
    }
    await delay(retryAfter * 1000);
  }
}

async function ask(url: string, headers: Readonly<Record<string, string>> = {}): Promise<IncomingMessage> {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  get(url, { agent: false, headers, timeout: ANSWER_MS }, resolve)
    .on('timeout', () => reject(new Error(`${url} gives no answer`)))
    .on('error', reject);
  return await promise;
}

async function readSlowly(response: IncomingMessage, bytesPerSecond: number): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  let bytes = 0;
  const begun = performance.now();
  const timer = setInterval(() => {
    const due = Math.floor(((performance.now() - begun) / 1000) * bytesPerSecond) - bytes;
    const chunk: Buffer | null = response.read(Math.min(due, Math.max(1, response.readableLength)));
    bytes += chunk?.length ?? 0;
  }, TICK_MS);
  response.once('end', resolve).once('error', reject);
  await promise.finally(() => clearInterval(timer));
  const expected = Number(response.headers['content-length']);
  if (bytes !== expected) throw new Error(`A device has read ${bytes} bytes of ${expected}`);
  return bytes;
}

/** Clients that have begun a download and do not read. */
export interface StuckClients extends Disposable {
  readonly count: number;
}

/** Begins downloads, and reads nothing. Resolves when the first bytes of each have come. */
export async function beginDownloads(port: number, path: string, count: number): Promise<StuckClients> {
  const begin = async (): Promise<Socket> => {
    const { promise, resolve, reject } = Promise.withResolvers<Socket>();
    const socket = connect(port, '127.0.0.1');
    socket.once('error', reject);
    socket.once('readable', () => resolve(socket));
    socket.write(`GET ${path} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nConnection: close\r\n\r\n`);
    return await promise;
  };
  const sockets = await Promise.all(Array.from({ length: count }, begin));
  return {
    count,
    [Symbol.dispose]: () => {
      for (const socket of sockets) socket.destroy();
    },
  };
}
