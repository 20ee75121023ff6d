import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { chmod, open, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { promisify } from 'node:util';
import { type FakeRegistry, startFakeRegistry } from '../support/fake-registry.ts';
import { makeImage, makeLayer } from '../support/image.ts';
import { connectRaw } from '../support/raw-client.ts';
import { request } from '../support/service.ts';
import { within } from '../support/within.ts';
import { logOf, type Program, startProgram, temporaryFolder } from './binary.ts';

/** Signals that stop the service after its downloads. */
const SIGNALS = ['SIGTERM', 'SIGINT', 'SIGHUP'] as const;

const FILE = '/docker/team_app_1.tar';

/** The listening program with a fake registry. */
interface Served extends AsyncDisposable {
  readonly program: Program;
  readonly registry: FakeRegistry;
  readonly port: number;
  readonly workspace: string;
}

async function serve(
  env: Readonly<Record<string, string>> = {},
  args: readonly string[] = ['serve'],
): Promise<Served> {
  await using stack = new AsyncDisposableStack();
  const registry = stack.use(await startFakeRegistry());
  registry.push('team/app', '1', makeImage({ layers: [{ tar: makeLayer({ a: 'a' }) }] }));
  const folder = stack.use(await temporaryFolder());
  const workspace = join(folder.path, 'workspace');
  const program = stack.use(
    startProgram(
      args,
      {
        HTTP_HOST: '127.0.0.1',
        HTTP_PORT: '0',
        WORKSPACE_DIR: workspace,
        REGISTRY_URL: registry.url,
        ...env,
      },
      folder.path,
    ),
  );
  const { port } = await program.waitForEvent('listening');
  const all = stack.move();
  return {
    program,
    registry,
    port: Number(port),
    workspace,
    [Symbol.asyncDispose]: () => all.disposeAsync(),
  };
}

describe('serve', { concurrency: 2 }, () => {
  test('serves without a reader of its log', async () => {
    await using served = await serve();
    const { child } = served.program;
    child.stdout?.destroy();
    // Each request writes a line to the closed pipe. The first write fails after its answer.
    for (const attempt of [1, 2, 3]) {
      assert.equal((await request(served.port, FILE)).status, 200, `request ${attempt}`);
    }
    child.kill('SIGTERM');
    const { code, stderr } = await served.program.ended();
    assert.deepEqual([code, stderr], [0, '']);
  });

  test('stops also while the service manager takes its time for READY=1', async () => {
    await using folder = await temporaryFolder();
    const at = (name: string) => join(folder.path, name);
    await promisify(execFile)('mkfifo', [at('gate')]);
    // Held open for both: what is written waits for a reader, also one that comes later, and no end waits to be opened.
    await using gate = await open(at('gate'), 'r+');
    const lines = ['#!/bin/sh', 'echo "$1" >> calls', '[ "$1" != READY=1 ] || read -r line < gate', ''];
    await writeFile(
      at('systemd-notify'),
      lines.join('\n').replaceAll(/calls|gate/g, (name) => at(name)),
    );
    await chmod(at('systemd-notify'), 0o755);
    await using served = await serve({
      NOTIFY_SOCKET: at('manager'),
      PATH: `${folder.path}:${process.env['PATH']}`,
    });
    served.program.child.kill('SIGTERM');
    await served.program.waitForEvent('stopping');
    await gate.write('read\n');
    const { code, stdout } = await served.program.ended();
    assert.deepEqual([code, logOf(stdout).filter(({ event }) => event === 'notify')], [0, []]);
    assert.equal(await readFile(at('calls'), 'utf8'), 'READY=1\nSTOPPING=1\n');
  });

  test('warns of a variable that has no effect, without its value', async () => {
    await using served = await serve({ REGISTRY_USERNMAE: 'hunter2', REGISTRY_PASSWORD_FILE: '' });
    const { message } = await served.program.waitForEvent('configuration');
    assert.equal(message, 'REGISTRY_USERNMAE is set and has no effect; did you mean REGISTRY_USERNAME?');
    served.program.child.kill('SIGTERM');
    const { code, stdout } = await served.program.ended();
    assert.equal(code, 0);
    assert.doesNotMatch(stdout, /hunter2/);
  });

  for (const args of [[], ['serve']]) {
    test(`answers over HTTP (${args.length === 0 ? 'no command' : args.join(' ')}), logs in JSON, and leaves no files`, async () => {
      await using served = await serve({}, args);
      assert.equal((await request(served.port, '/ready')).status, 200);
      const reply = await request(served.port, FILE);
      assert.equal(reply.status, 200);
      assert.equal(reply.headers['content-length'], String(reply.body.length));
      await served.program.waitForEvent('request');
      served.program.child.kill('SIGTERM');
      const { code, stdout, stderr } = await served.program.ended();
      assert.deepEqual(await readdir(served.workspace), []);
      assert.equal(code, 0);
      assert.equal(stderr, '');
      assert.deepEqual(
        logOf(stdout).map(({ event }) => event),
        ['listening', 'request', 'stopping', 'stopped'],
      );
    });
  }

  for (const signal of SIGNALS) {
    test(`ends with 0 after ${signal}, although a client keeps its connection open`, async () => {
      await using served = await serve();
      using client = await connectRaw(served.port);
      client.send('GET /health HTTP/1.1\r\nHost: a\r\n\r\n');
      await client.waitFor(/ok\n$/);
      served.program.child.kill(signal);
      const { code, stdout } = await served.program.ended();
      assert.equal(code, 0);
      const log = logOf(stdout);
      assert.equal(log.find(({ event }) => event === 'stopping')?.['signal'], signal);
      assert.equal(log.find(({ event }) => event === 'stopped')?.['cutOff'], 0);
    });
  }

  for (const signal of SIGNALS) {
    test(`finishes a running download after ${signal}`, async () => {
      await using served = await serve();
      const { registry, program, port } = served;
      registry.defects.stallRequests = { times: 1 };
      const running = request(port, FILE);
      await within(registry.waitForStalled(), 'the download');
      program.child.kill(signal);
      assert.equal((await program.waitForEvent('stopping'))['signal'], signal);
      assert.equal((await request(port, '/ready')).status, 503);
      assert.equal((await request(port, FILE)).status, 503);
      registry.releaseStalled();
      const reply = await running;
      assert.equal(reply.status, 200);
      assert.equal(reply.headers['content-length'], String(reply.body.length));
      const { code, stdout } = await program.ended();
      assert.equal(code, 0);
      assert.equal(logOf(stdout).find(({ event }) => event === 'stopped')?.['cutOff'], 0);
    });
  }

  test('aborts a download after SHUTDOWN_TIMEOUT, logs it, and ends with 0', async () => {
    // Longer than the longest wait for the end of the program, which must not wait for the registry.
    const patient = {
      REGISTRY_RESPONSE_TIMEOUT: '600',
      REGISTRY_STALL_TIMEOUT: '600',
      PREPARE_TIMEOUT: '600',
    };
    await using served = await serve({ SHUTDOWN_TIMEOUT: '0.1', ...patient });
    const { registry, program, port } = served;
    registry.defects.stallRequests = {};
    const running = request(port, FILE);
    await within(registry.waitForStalled(), 'the download');
    program.child.kill('SIGTERM');
    const { cutOff, level } = await program.waitForEvent('stopped');
    assert.deepEqual({ cutOff, level }, { cutOff: 1, level: 'warn' });
    assert.equal((await program.ended()).code, 0);
    assert.equal((await running).status, 503);
  });

  test('ends at once after a second signal', async () => {
    await using served = await serve();
    const { registry, program, port } = served;
    registry.defects.stallRequests = {};
    const running = assert.rejects(request(port, FILE), { code: 'ECONNRESET' });
    await within(registry.waitForStalled(), 'the download');
    // Signals within a second count as one, so the signal is repeated.
    const again = setInterval(() => program.child.kill('SIGTERM'), 50);
    const { signal } = await program.ended().finally(() => clearInterval(again));
    assert.equal(signal, 'SIGTERM');
    await running;
  });

  test('starts, serves and stops without the collector', async () => {
    await using served = await serve({ OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:1' });
    assert.equal((await request(served.port, FILE)).status, 200);
    served.program.child.kill('SIGTERM');
    assert.equal((await served.program.ended()).code, 0);
  });

  test('survives all faults of a registry', async () => {
    await using served = await serve({ CACHE_MAX_BYTES: '0' });
    const { registry, port } = served;
    for (const defects of [
      { dropBlob: true },
      { wrongBlobDigest: true },
      { truncateBlob: { afterBytes: 1 } },
      { wrongManifestDigest: true, hugeManifest: { bytes: 100_000_000, contentLength: false } },
      { hugeConfig: { bytes: 100_000_000, contentLength: false } },
    ] as const) {
      Object.assign(registry.defects, defects);
      assert.ok((await request(port, FILE)).status >= 500);
      for (const name of Object.keys(defects)) Object.assign(registry.defects, { [name]: undefined });
    }
    assert.equal((await request(port, FILE)).status, 200);
  });
});
