/** One maintenance window for real, with scaled-down sizes: two replicas, a registry with a slow line, and slow devices. */

import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { crc32 } from 'node:zlib';
import { type BuiltService, startBuiltService } from '../../../test/support/built-service.ts';
import { cpuSeconds, peakResidentBytes, startHelper } from '../measure.ts';
import { downloadSlowly } from './devices.ts';
import type { Figures } from './estimate.ts';
import { NODE_ARGS } from './figures.ts';
import { IMAGES, type SentByRegistry, UPSTREAM_BYTES_PER_SECOND } from './limited-registry.ts';
import { type Outcome, type Scenario, simulate } from './simulate.ts';

/**
 * Sizes of the window. Each device reads for 20 s, and half of them have a connection at once. With starts that only just fit, a
 * delay of a second decides about a wait of a minute, so a busy machine would change the result.
 */
export const SCALED_DOWN = {
  devices: 200,
  startSeconds: 20,
  replicas: 2,
  clientBytesPerSecond: 400_000,
  maxConnections: 50,
  places: 2,
  maxQueued: 16,
  queueSeconds: 30,
} as const;

/** `Retry-After` of the service: src/http/connections/server.ts and src/util/semaphore.ts. */
export const RETRY_SECONDS = { connections: 60, queue: 15 } as const;

/** What a window costs, simulated or real. */
export interface WindowResult
  extends Pick<Outcome, 'deviceSeconds' | 'lastSeconds' | 'refused' | 'gaveUp' | 'pulls'> {
  readonly sentBytes: number;
  /** Of all replicas. */
  readonly cpuSeconds: number;
  /** Most of one replica. */
  readonly peakBytes: number;
}

/** The window, simulated and real. */
export interface ComparedWindow {
  readonly simulated: WindowResult;
  readonly real: WindowResult;
}

/** Runs the window, and simulates it with measured figures. */
export async function compareWindow(folder: string, main: string, figures: Figures): Promise<ComparedWindow> {
  const own = mkdtempSync(join(folder, 'window-'));
  try {
    await using registry = await startHelper('sizing/limited-registry.ts');
    const { compressedBytes } = (await registry.ask()) as SentByRegistry;
    await using stack = new AsyncDisposableStack();
    const replicas: BuiltService[] = [];
    for (let number = 0; number < SCALED_DOWN.replicas; number += 1) {
      const env = {
        REGISTRY_URL: `http://127.0.0.1:${registry.port}`,
        LOG_LEVEL: 'info',
        CACHE_DIR: join(own, `cache-${number}`),
        MAX_REQUESTS_PER_CLIENT: '0',
        MAX_CONNECTIONS: `${SCALED_DOWN.maxConnections}`,
        MAX_CONCURRENT_PREPARATIONS: `${SCALED_DOWN.places}`,
        MAX_QUEUED_PREPARATIONS: `${SCALED_DOWN.maxQueued}`,
        QUEUE_TIMEOUT: `${SCALED_DOWN.queueSeconds}`,
      };
      replicas.push(stack.use(await startBuiltService(env, { main, nodeArgs: NODE_ARGS })));
    }
    const started = await Promise.all(replicas.map(({ pid }) => cpuSeconds(pid)));
    const devices = await allDevices(replicas);
    const used = await Promise.all(replicas.map(({ pid }) => cpuSeconds(pid)));
    const peaks = await Promise.all(replicas.map(({ pid }) => peakResidentBytes(pid)));
    const { layers } = (await registry.ask()) as SentByRegistry;
    const sum = (values: readonly number[]) => values.reduce((all, value) => all + value, 0);
    const sentBytes = sum(devices.map(({ bytes }) => bytes));
    const archiveBytes = sentBytes / devices.length;
    const real: WindowResult = {
      deviceSeconds: devices.map(({ seconds }) => seconds).toSorted((one, other) => one - other),
      lastSeconds: Math.max(...devices.map(({ endedAt }) => endedAt)),
      refused: sum(devices.map(({ refused }) => refused)),
      gaveUp: 0,
      pulls: layers,
      sentBytes,
      cpuSeconds: sum(used) - sum(started),
      peakBytes: Math.max(...peaks),
    };
    return { real, simulated: simulated(figures, compressedBytes, archiveBytes) };
  } finally {
    rmSync(own, { recursive: true, force: true, maxRetries: 5 });
  }
}

function placeOf(device: number): { readonly image: number; readonly replica: number } {
  const image = device % IMAGES;
  // As a balancer does: equal paths go to equal replicas.
  return { image, replica: crc32(pathOf(image)) % SCALED_DOWN.replicas };
}

function pathOf(image: number): string {
  return `/docker/bench_image${image}_1.tar`;
}

/** All devices; each starts at the time that it has in the simulation. */
async function allDevices(replicas: readonly BuiltService[]) {
  const { devices, startSeconds, clientBytesPerSecond } = SCALED_DOWN;
  const begun = performance.now();
  return await Promise.all(
    Array.from({ length: devices }, async (_, device) => {
      await delay((device * startSeconds * 1000) / devices);
      const { image, replica } = placeOf(device);
      const url = `http://127.0.0.1:${replicas[replica]?.port}${pathOf(image)}`;
      const result = await downloadSlowly(url, clientBytesPerSecond);
      return { ...result, endedAt: (performance.now() - begun) / 1000 };
    }),
  );
}

function simulated(figures: Figures, compressedBytes: number, archiveBytes: number): WindowResult {
  const { maxConnections, places, maxQueued, queueSeconds, ...window } = SCALED_DOWN;
  const scenario: Scenario = {
    ...window,
    replica: {
      maxConnections,
      places,
      maxQueued,
      queueSeconds,
      sendBytesPerSecond: figures.sendBytesPerSecond,
      pullBytesPerSecond: compressedBytes / (archiveBytes * figures.pullSecondsPerByte),
    },
    placeOf,
    compressedBytes,
    archiveBytes,
    siteBytesPerSecond: Number.POSITIVE_INFINITY,
    upstreamBytesPerSecond: UPSTREAM_BYTES_PER_SECOND,
    retrySeconds: RETRY_SECONDS,
    tries: Number.POSITIVE_INFINITY,
  };
  const outcome = simulate(scenario);
  const sentBytes = outcome.deviceSeconds.length * archiveBytes;
  return {
    ...outcome,
    sentBytes,
    cpuSeconds:
      sentBytes * figures.slowCpuSecondsPerByte +
      (window.devices + outcome.refused) * figures.requestCpuSeconds +
      outcome.pulls * archiveBytes * figures.pullCpuSecondsPerByte,
    peakBytes: figures.peakBytes + outcome.peakConnections * figures.clientBytes,
  };
}
