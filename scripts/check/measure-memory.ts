/**
 * `npm run measure:memory`: prepares and sends an image of more than 1 GB, and prints the peak resident memory of the built
 * service. Ends with exit code 1 above the bound.
 *
 * Some layers do not compress, some compress well, some are a mix. The registry runs in this process, so its memory does not
 * count.
 */

import { type ChildProcess, spawn } from 'node:child_process';
import { createHash, randomFillSync } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { startFakeRegistry } from '../../test/support/fake-registry.ts';
import { makeImage, makeLayer } from '../../test/support/image.ts';
import { build } from '../build.ts';

const MIB = 1024 * 1024;

/** The documented bound, in bytes. */
const BOUND_BYTES = 200 * MIB;

/** Longest run, in milliseconds. */
const LIMIT_MS = 300_000;

const directory = await mkdtemp(join(tmpdir(), 'docker-http-passthrough-memory-'));
const registry = await startFakeRegistry();
const limit = AbortSignal.timeout(LIMIT_MS);
let service: ChildProcess | undefined;
try {
  registry.push('measure/memory', '1', bigImage());
  const built = join(directory, 'built');
  await build(built);
  service = spawn(process.execPath, [join(built, 'main.js'), 'serve'], {
    cwd: directory,
    stdio: ['ignore', 'pipe', 'inherit'],
    env: {
      PATH: process.env['PATH'],
      HTTP_HOST: '127.0.0.1',
      HTTP_PORT: '0',
      REGISTRY_URL: registry.origin,
      WORKSPACE_DIR: directory,
    },
  });
  const port = await listeningPort(service);
  const atStart = await peakResidentBytes(service);
  const begun = performance.now();
  const { bytes, digest } = await download(`http://127.0.0.1:${port}/docker/measure_memory_1.tar`);
  const seconds = (performance.now() - begun) / 1000;
  const peak = await peakResidentBytes(service);

  console.log(`node ${process.version}, ${process.platform}/${process.arch}`);
  console.log(`archive          ${(bytes / 1e9).toFixed(2)} GB in ${seconds.toFixed(1)} s, sha256:${digest}`);
  console.log(`resident, idle   ${(atStart / MIB).toFixed(0)} MiB`);
  console.log(`resident, peak   ${(peak / MIB).toFixed(0)} MiB, bound ${BOUND_BYTES / MIB} MiB`);
  process.exitCode = bytes >= 1e9 && peak < BOUND_BYTES ? 0 : 1;
} finally {
  service?.kill('SIGKILL');
  await registry.close();
  await rm(directory, { recursive: true, force: true });
}

/** Five layers, 1.2 GB together. */
function bigImage() {
  const random = (bytes: number) => randomFillSync(Buffer.allocUnsafe(bytes));
  const text = (bytes: number) => Buffer.alloc(bytes, 'The quick brown fox jumps over the lazy dog. ');
  const contents = [
    { bytes: random(250 * MIB), compression: 'gzip' },
    { bytes: text(350 * MIB), compression: 'gzip' },
    { bytes: Buffer.concat([random(100 * MIB), text(150 * MIB)]), compression: 'zstd' },
    { bytes: Buffer.concat([text(100 * MIB), random(50 * MIB)]), compression: 'gzip' },
    { bytes: random(100 * MIB), compression: 'none' },
  ] as const;
  return makeImage({
    layers: contents.map(({ bytes, compression }, index) => ({
      tar: makeLayer({ [`data-${index}`]: bytes }),
      compression,
    })),
  });
}

async function listeningPort({ stdout }: ChildProcess): Promise<number> {
  for await (const line of createInterface({ input: stdout as Readable, signal: limit })) {
    const event: { event?: string; port?: number } = JSON.parse(line);
    if (event.event === 'listening' && event.port !== undefined) {
      stdout?.resume();
      return event.port;
    }
  }
  throw new Error('The service ended before it listened');
}

/** Peak resident set of a process: `VmHWM` in proc(5). */
async function peakResidentBytes({ pid }: ChildProcess): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1] ?? Number.NaN) * 1024;
}

async function download(url: string): Promise<{ bytes: number; digest: string }> {
  const response = await fetch(url, { signal: limit });
  if (!response.ok || response.body === null) throw new Error(`GET ${url} gave ${response.status}`);
  const hash = createHash('sha256');
  let bytes = 0;
  for await (const piece of response.body) {
    hash.update(piece);
    bytes += piece.byteLength;
  }
  return { bytes, digest: hash.digest('hex') };
}
