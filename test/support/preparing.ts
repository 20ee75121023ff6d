/** Preparations that nobody waits for, as a client sees them. */

import assert from 'node:assert/strict';
import type { Scene } from './cached.ts';
import type { Reply, RequestOptions, TestService } from './service.ts';

/** What is told of a preparation. */
export interface ToldJob {
  readonly id: string;
  readonly path: string;
  readonly images: readonly string[];
  readonly state: string;
  readonly layers: { readonly done: number; readonly total: number };
  readonly bytes: { readonly done: number; readonly total: number };
  readonly startedAt: string;
  readonly endedAt?: string;
  readonly error?: {
    readonly status: number;
    readonly title: string;
    readonly detail: string;
    readonly code: string;
  };
}

/** A preparation that was begun. */
export interface BegunJob {
  readonly location: string;
  /** As the answer to the POST has told it. */
  readonly first: ToldJob;
}

/** How long to ask again for a state before the test fails. */
const WAIT_MS = 10_000;

/** Asks for a preparation, which must be taken on. */
export async function prepare(
  service: TestService,
  path: string,
  options: RequestOptions = {},
): Promise<BegunJob> {
  const reply = await service.request(`/prepare${path}`, { ...options, method: 'POST' });
  assert.equal(reply.status, 202, reply.body.toString());
  const { location = '' } = reply.headers;
  assert.match(location, /^\/preparations\/[\da-f-]{36}$/);
  assert.match(reply.headers['retry-after'] ?? '', /^\d+$/);
  return { location, first: jobOf(reply) };
}

/** What an answer tells of a preparation. */
export function jobOf({ headers, body }: Reply): ToldJob {
  assert.equal(headers['content-type'], 'application/json');
  assert.equal(headers['cache-control'], 'no-store');
  return JSON.parse(body.toString()) as ToldJob;
}

/** What is told of a preparation now. */
export async function look(service: TestService, location: string): Promise<ToldJob> {
  const reply = await service.request(location);
  assert.equal(reply.status, 200);
  return jobOf(reply);
}

/** Asks again and again until a preparation is as it is to be. */
export async function until(
  service: TestService,
  location: string,
  isReached: (job: ToldJob) => boolean,
): Promise<ToldJob> {
  const end = performance.now() + WAIT_MS;
  for (;;) {
    const job = await look(service, location);
    if (isReached(job)) return job;
    assert.ok(performance.now() < end, `it is still ${JSON.stringify(job)}`);
  }
}

/** Waits for the end of a preparation, as the log tells it. */
export async function ended(service: TestService, { location, first }: BegunJob): Promise<ToldJob> {
  await service.waitForLog({ event: 'preparation', id: first.id });
  return await look(service, location);
}

/** Checks that an archive is there, so that asking for it costs no blob. */
export async function assertPrepared(
  { asked }: Scene,
  service: TestService,
  path: string,
  options?: RequestOptions,
): Promise<Reply> {
  asked();
  const reply = await service.request(path, options);
  assert.equal(reply.status, 200, reply.body.toString());
  const lines = asked();
  assert.ok(lines.length > 0 && lines.every((line) => /^HEAD .*\/manifests\//.test(line)), lines.join());
  return reply;
}
