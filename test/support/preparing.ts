/** Preparations, as a client sees them. */

import assert from 'node:assert/strict';
import type { Scene } from './cached.ts';
import type { Reply, RequestOptions, TestService } from './service.ts';
import { WAIT_LIMIT_MS } from './within.ts';

/** The JSON document of a preparation. */
export interface PreparationDocument {
  readonly id: string;
  readonly path: string;
  readonly layout: string;
  readonly platform: string;
  readonly images: readonly string[];
  readonly state: string;
  readonly layers: { readonly done: number; readonly total: number };
  readonly bytes: { readonly done: number; readonly total: number };
  readonly layerProgress: readonly {
    readonly digest: string;
    readonly done: number;
    readonly total: number;
    readonly state: string;
  }[];
  readonly startedAt: string;
  readonly endedAt?: string;
  readonly error?: {
    readonly status: number;
    readonly title: string;
    readonly detail: string;
    readonly code: string;
    readonly line: string;
    readonly hints?: readonly string[];
  };
}

/** A preparation that has started. */
export interface Started {
  readonly location: string;
  /** The document in the answer to the POST. */
  readonly first: PreparationDocument;
}

/** Starts a preparation, which must be accepted. */
export async function prepare(
  service: TestService,
  path: string,
  options: RequestOptions = {},
): Promise<Started> {
  const reply = await service.request(`/prepare${path}`, { ...options, method: 'POST' });
  assert.equal(reply.status, 202, reply.body.toString());
  const { location = '' } = reply.headers;
  assert.match(location, /^\/preparations\/[\da-f-]{36}$/);
  assert.match(reply.headers['retry-after'] ?? '', /^\d+$/);
  return { location, first: documentOf(reply) };
}

/** The document in an answer. */
export function documentOf({ headers, body }: Reply): PreparationDocument {
  assert.equal(headers['content-type'], 'application/json');
  assert.equal(headers['cache-control'], 'no-store');
  return JSON.parse(body.toString()) as PreparationDocument;
}

/** The present document of a preparation. */
export async function lookUp(service: TestService, location: string): Promise<PreparationDocument> {
  const reply = await service.request(location);
  assert.equal(reply.status, 200);
  return documentOf(reply);
}

/** Looks a preparation up until its document fulfils a condition. */
export async function lookUpUntil(
  service: TestService,
  location: string,
  isReached: (document: PreparationDocument) => boolean,
): Promise<PreparationDocument> {
  const end = performance.now() + WAIT_LIMIT_MS;
  for (;;) {
    const document = await lookUp(service, location);
    if (isReached(document)) return document;
    assert.ok(performance.now() < end, `it is still ${JSON.stringify(document)}`);
  }
}

/** Waits for the log line of the end of a preparation. */
export async function ended(
  service: TestService,
  { location, first }: Started,
): Promise<PreparationDocument> {
  await service.waitForLog({ event: 'preparation', id: first.id });
  return await lookUp(service, location);
}

/** Starts a preparation and checks that it ends as `done`. */
export async function prepareDone(
  service: TestService,
  path: string,
  options: RequestOptions = {},
): Promise<PreparationDocument> {
  const document = await ended(service, await prepare(service, path, options));
  assert.equal(document.state, 'done', JSON.stringify(document.error));
  return document;
}

/** Checks that an archive is prepared: a request for it costs HEADs of manifests only. */
export async function assertPrepared(
  { takeRequests }: Scene,
  service: TestService,
  path: string,
  options?: RequestOptions,
): Promise<Reply> {
  takeRequests();
  const reply = await service.request(path, options);
  assert.equal(reply.status, 200, reply.body.toString());
  const lines = takeRequests();
  assert.ok(lines.length > 0 && lines.every((line) => /^HEAD .*\/manifests\//.test(line)), lines.join());
  return reply;
}
