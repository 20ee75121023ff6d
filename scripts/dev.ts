/**
 * `npm run dev`: the service from its sources, started again whenever one of them changes, with a registry and an image of its own.
 * On a terminal its log is readable lines. A running download is cut by a change.
 */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startFakeRegistry } from '../test/support/fake-registry.ts';
import { helloIndex } from './demo-image.ts';

const SOURCES = join(import.meta.dirname, '..', 'src');

/** Default port of the service. */
const DEFAULT_PORT = '8080';

const port = process.env['HTTP_PORT'] ?? DEFAULT_PORT;
const registry = await startFakeRegistry();
registry.push('demo/hello', '1.0', helloIndex());
// Another folder, so that a developer's .env is not read.
const directory = await mkdtemp(join(tmpdir(), 'docker-http-passthrough-dev-'));

console.log(`A registry with the image demo/hello:1.0 is at ${registry.origin}. To try the service:

  curl --fail -O http://localhost:${port}/docker/demo_hello_1.0.tar
`);
const watch = [`--watch-path=${SOURCES}`, '--watch-preserve-output', '--watch-kill-signal=SIGINT'];
const service = spawn(process.execPath, ['--watch', ...watch, join(SOURCES, 'main.ts'), 'serve'], {
  cwd: directory,
  stdio: 'inherit',
  // With its own process group, so that Ctrl-C does not reach it directly.
  detached: true,
  env: {
    LOG_LEVEL: 'debug',
    // A download that runs when a source changes does not hold up the new service.
    SHUTDOWN_TIMEOUT: '0.1',
    ...process.env,
    HTTP_PORT: port,
    NO_PROXY: '127.0.0.1',
    no_proxy: '127.0.0.1',
    REGISTRY_URL: registry.origin,
    REGISTRY_NAME: 'demo.example',
    WORKSPACE_DIR: join(directory, 'workspace'),
  },
});
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => service.kill('SIGTERM'));
await once(service, 'exit');
await registry.close();
await rm(directory, { recursive: true, force: true });
// The watcher ends by the signal that it was sent; Ctrl-C is the usual way to end this.
process.exit(0);
