/**
 * A client that behaves as IOS-XE's `copy http://…` does: HTTP/1.1, no query in the URL, no credentials until a 401 asks for Basic,
 * then one repetition with those of `ip http client username` and `password`.
 */
import assert from 'node:assert/strict';
import { type Reply, request } from '../support/http-request.ts';

/** What `ip http client` has configured. */
export interface ClientCredentials {
  readonly username: string;
  readonly password: string;
}

/** Copies a file from a service on 127.0.0.1. */
export async function copy(
  port: number,
  path: string,
  credentials?: ClientCredentials,
): Promise<readonly Reply[]> {
  assert.doesNotMatch(path, /[?\s]/, 'IOS cannot type it');
  const headers = { 'User-Agent': 'cisco-IOS', Accept: '*/*' };
  const first = await request(port, path, { headers });
  const isAsked = first.status === 401 && /^Basic /i.test(first.headers['www-authenticate'] ?? '');
  if (!isAsked || credentials === undefined) return [first];
  const pair = Buffer.from(`${credentials.username}:${credentials.password}`).toString('base64');
  return [first, await request(port, path, { headers: { ...headers, Authorization: `Basic ${pair}` } })];
}
