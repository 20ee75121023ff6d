/**
 * `npm run demo`: the whole service without the internet. Starts a registry with a small image for two platforms, starts the
 * service for this registry, downloads one archive, prints what to try next, and runs until Ctrl-C.
 */

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { arch, tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { startFakeRegistry } from '../test/support/fake-registry.ts';
import { ARCHITECTURES, helloIndex } from './demo-image.ts';

const MAIN = join(import.meta.dirname, '..', 'src', 'main.ts');
const FILENAME = 'demo_hello_1.0.tar';

/** Default port of the service. */
const DEFAULT_PORT = '8080';

/** Longest start of the service, in milliseconds. */
const START_LIMIT_MS = 10_000;

const registry = await startFakeRegistry();
registry.push('demo/hello', '1.0', helloIndex());

const directory = await mkdtemp(join(tmpdir(), 'docker-http-passthrough-demo-'));
const { service, port } = await startService();
const ended = once(service, 'exit');
let isStopping = false;
// Ctrl-C may arrive twice, from the terminal and from npm. The service gets one signal.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => stop());
try {
  await showDownload(port);
  await ended;
} finally {
  stop();
  await ended;
  await registry.close();
  await rm(directory, { recursive: true, force: true });
}

function stop(): void {
  if (!isStopping) service.kill('SIGTERM');
  isStopping = true;
}

/** Starts the service as `npm start` does, with the registry above as its default one. */
async function startService(): Promise<{ service: ChildProcess; port: number }> {
  const service = spawn(process.execPath, [MAIN, 'serve'], {
    // Another folder, so that a developer's .env is not read.
    cwd: directory,
    stdio: ['ignore', 'pipe', 'inherit'],
    // With its own process group, so that Ctrl-C does not reach it directly.
    detached: true,
    env: {
      ...process.env,
      HTTP_PORT: process.env['HTTP_PORT'] ?? DEFAULT_PORT,
      NO_PROXY: '127.0.0.1',
      no_proxy: '127.0.0.1',
      REGISTRY_URL: registry.origin,
      REGISTRY_NAME: 'demo.example',
      WORKSPACE_DIR: join(directory, 'workspace'),
    },
  });
  const limit = AbortSignal.timeout(START_LIMIT_MS);
  const lines = createInterface({ input: service.stdout as Readable });
  const listening = new Promise<number>((resolve, reject) => {
    lines.on('line', (line) => {
      const event: { event?: string; port?: number } = JSON.parse(line);
      if (event.event === 'listening' && event.port !== undefined) resolve(event.port);
      else console.log(line);
    });
    service.once('exit', (code) => reject(new Error(`The service ended with exit code ${code}`)));
    limit.addEventListener('abort', () => reject(new Error('The service did not begin to listen')));
  });
  try {
    return { service, port: await listening };
  } catch (error) {
    service.kill('SIGTERM');
    await registry.close();
    await rm(directory, { recursive: true, force: true });
    console.error(`${error instanceof Error ? error.message : error}. HTTP_PORT=0 takes any free port.`);
    process.exit(1);
  }
}

async function showDownload(servicePort: number): Promise<void> {
  const origin = `http://localhost:${servicePort}`;
  const url = `${origin}/docker/${FILENAME}`;
  const file = join(directory, FILENAME);
  const response = await fetch(url);
  if (!response.ok || response.body === null) throw new Error(`GET ${url} gave ${response.status}`);
  await pipeline(Readable.fromWeb(response.body), createWriteStream(file));

  const machine = arch() === 'arm64' ? '/platform/linux/arm64' : '';
  console.log(`
A registry with the image demo/hello:1.0 for ${ARCHITECTURES.map((name) => `linux/${name}`).join(' and ')} runs at ${registry.origin}.
The service runs at ${origin} and takes images from there.

  GET ${url}
  gave ${response.headers.get('content-length')} bytes of ${response.headers.get('content-type')} for manifest
  ${response.headers.get('docker-content-digest')}

The archive is at ${file} until this demo ends.

What to type next, in another terminal:

  curl --fail -O ${origin}${machine}/docker/${FILENAME}
  docker load -i ${FILENAME}
  docker run --rm --network none demo.example/demo/hello:1.0

  curl -I ${origin}/platform/linux/arm64/docker/${FILENAME}
  curl ${origin}/platform/linux/s390x/docker/${FILENAME}
  curl ${origin}/docker/demo_hello_2.0.tar
  curl ${origin}/

Ctrl-C ends the demo.
`);
}
