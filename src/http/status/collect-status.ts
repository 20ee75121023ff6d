import { mirrorState } from '../../pull/mirrors/mirror-state.ts';
import type { Preparation } from '../../pull/preparations.ts';
import type { Count, LayerProgress, Progress } from '../../pull/progress.ts';
import { COMMIT, VERSION } from '../../version.ts';
import type { Application } from '../application.ts';
import { clientOf } from '../client-limit.ts';
import type { ActiveRequest } from './activity.ts';

/** Most rows of a list. Its `count` has all. */
const MAX_ROWS = 100;

/** Most clients that are listed of one preparation. */
const MAX_CLIENTS = 20;

/** An archive that is being prepared, for all requests that ask for it. */
export interface PreparingRow {
  /** The images in full, separated by spaces. */
  readonly image: string;
  readonly layout: string | undefined;
  readonly platform: string | undefined;
  readonly state: string;
  readonly layers: Count | undefined;
  /** Compressed bytes of its layers. */
  readonly bytes: Count | undefined;
  /** Layers that are fetched now. */
  readonly inFlight: readonly LayerProgress[];
  /** Since the first of its requests. */
  readonly seconds: number;
  /** Requests that wait for it. */
  readonly requests: number;
  /** Preparations of it that no request waits for. */
  readonly preparations: number;
  /** Who waits, if that was asked for. */
  readonly clients?: readonly string[];
}

/** An archive that is being sent. */
export interface DownloadRow {
  readonly image: string;
  readonly layout: string | undefined;
  readonly platform: string | undefined;
  /** Bytes that were handed to the connection, and length of the answer where it is known. */
  readonly bytes: { readonly done: number; readonly total: number | undefined };
  readonly seconds: number;
  readonly client?: string;
}

/** A list whose length is bounded. */
export interface Rows<Row> {
  readonly count: number;
  readonly rows: readonly Row[];
}

/** What the service is doing, as JSON. */
export type StatusDocument = ReturnType<typeof collectStatus>;

/**
 * Collects what the service is doing: from memory, without a question to a registry or the disk.
 *
 * @param showsClients whether addresses of clients are shown
 */
export function collectStatus(app: Application, showsClients: boolean) {
  const now = Date.now();
  const { images, config, activity, connections } = app;
  const { queue, store, servers } = images.status;
  const requests = activity.requests;
  const pulls = requests.filter(({ isPull, context }) => isPull && context.facts.image !== undefined);
  const sending = pulls.filter(({ context: { response } }) => response.headersSent);
  const { cache, shared, made } = store.requests;
  const total = cache + shared + made;
  return {
    version: VERSION,
    commit: COMMIT,
    state: app.isStopping ? 'stopping' : 'serving',
    startedAt: app.startedAt.toISOString(),
    seconds: secondsSince(app.startedAt, now),
    memoryBytes: process.memoryUsage.rss(),
    connections: { open: connections.open, max: connections.max },
    requests: { active: requests.length, listeners: app.listeners.count, clients: app.clients.clients },
    queue,
    preparing: preparingRows(
      pulls.filter(({ context: { response } }) => !response.headersSent),
      images.preparations.running(),
      now,
      showsClients,
    ),
    downloads: {
      count: sending.length,
      rows: sending.slice(0, MAX_ROWS).map((request) => downloadRow(request, now, showsClients)),
    },
    cache: {
      bytes: store.bytes,
      maxBytes: store.maxBytes,
      files: store.files,
      evicted: store.evicted,
      requests: store.requests,
      /** Part of the files that needed no download of their own. */
      hitRate: total === 0 ? undefined : Number(((cache + shared) / total).toFixed(3)),
      isKept: config.cache.maxBytes !== 0,
    },
    registries: servers.slice(0, MAX_ROWS),
    mirrors: images.mirrors().map((one) => ({ mirror: one.mirror, ...mirrorState(one) })),
    errors: app.failures.list.map(({ client, ...failure }) => ({
      ...failure,
      ...(showsClients && client !== undefined && { client }),
    })),
  };
}

/** One row for each archive that is asked for, the one that waits longest first. */
function preparingRows(
  requests: readonly ActiveRequest[],
  preparations: readonly Preparation[],
  now: number,
  showsClients: boolean,
): Rows<PreparingRow> {
  const groups = new Map<string, { row: PreparingRow; clients: Set<string> }>();
  const add = (row: PreparingRow, client: string | undefined) => {
    const key = JSON.stringify([row.image, row.layout, row.platform]);
    const { row: known = row, clients = new Set<string>() } = groups.get(key) ?? {};
    if (client !== undefined && clients.size < MAX_CLIENTS) clients.add(client);
    const isKnown = known !== row;
    groups.set(key, {
      row: {
        // The one that is further says more: others may have just asked for the manifest.
        ...((known.bytes?.done ?? -1) >= (row.bytes?.done ?? -1) ? known : row),
        seconds: Math.max(known.seconds, row.seconds),
        requests: row.requests + (isKnown ? known.requests : 0),
        preparations: row.preparations + (isKnown ? known.preparations : 0),
      },
      clients,
    });
  };
  for (const { subject, state, progress, startedAt, layerStatuses } of preparations) {
    const inFlight = layerStatuses.filter((layer) => layer.state === 'fetching');
    const image = subject.images.join(' ');
    const seconds = secondsSince(startedAt, now);
    const known = { image, layout: subject.layout, platform: subject.platform, state, ...progress };
    add({ ...known, inFlight, seconds, requests: 0, preparations: 1 }, undefined);
  }
  for (const { context, layout, progress, startedAt } of requests) {
    const { image = '', platform } = context.facts;
    const seconds = secondsSince(startedAt, now);
    const row = { image, layout, platform, ...stateOf(progress), seconds, requests: 1, preparations: 0 };
    add(row, clientOf(context.client.address));
  }
  const rows = Array.from(groups.values(), ({ row, clients }) =>
    showsClients ? { ...row, clients: [...clients] } : row,
  );
  rows.sort((one, other) => other.seconds - one.seconds);
  return { count: rows.length, rows: rows.slice(0, MAX_ROWS) };
}

function stateOf(progress: Progress | undefined) {
  const { step = 'resolving', layers, bytes, inFlight = [] } = progress ?? {};
  return { state: step, layers, bytes, inFlight };
}

function downloadRow(
  { context, layout, startedAt }: ActiveRequest,
  now: number,
  showsClients: boolean,
): DownloadRow {
  const { client, facts, response } = context;
  const length = response.getHeader('content-length');
  return {
    image: facts.image ?? '',
    layout,
    platform: facts.platform,
    bytes: { done: facts.bytes ?? 0, total: length === undefined ? undefined : Number(length) },
    seconds: secondsSince(startedAt, now),
    ...(showsClients && { client: clientOf(client.address) }),
  };
}

function secondsSince(time: Date, now: number): number {
  return Math.max(0, Math.round((now - time.getTime()) / 1000));
}
