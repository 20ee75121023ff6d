/** Without a collector, the service loads nothing of OpenTelemetry but the API, which does nothing. */

import assert from 'node:assert/strict';
import { mkdtempDisposable, readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { startBuiltService } from '../support/built-service.ts';
import { type FakeRegistry, startFakeRegistry } from '../support/fake-registry.ts';
import { makeImage, makeLayer } from '../support/image.ts';
import { type OtlpReceiver, startOtlpReceiver } from '../support/otlp-receiver.ts';
import type { Variables } from './exporting.ts';

const PROGRAMS = [
  { program: 'the source', main: fileURLToPath(new URL('../../src/main.ts', import.meta.url)) },
  { program: 'the build', main: undefined },
];

/** A module that lists each loaded module, imported or required. */
const HOOK = `
import { appendFileSync } from 'node:fs';
import { registerHooks } from 'node:module';
import { join } from 'node:path';

const list = join(import.meta.dirname, 'loaded');
registerHooks({
  load(url, context, next) {
    appendFileSync(list, url + '\\n');
    return next(url, context);
  },
});
`;

/** The comment of esbuild before each module of a package. */
const PACKAGE_MARK = /^\/\/ (?:.*\/)?node_modules\/((?:@[^/\n]+\/)?[^/\n]+)\//gm;

/** A text that only the SDK contains. */
const SDK_WORD = 'OTEL_BSP_MAX_QUEUE_SIZE';

/** The modules that a process has loaded. */
interface Loaded {
  /** Without modules of Node. */
  readonly files: readonly string[];
  /** The packages of the files, and those that are bundled in the files. */
  readonly packages: readonly string[];
  /** Whether a file contains {@link SDK_WORD}. */
  readonly hasSdk: boolean;
}

let registry: FakeRegistry;
let receiver: OtlpReceiver;
before(async () => {
  registry = await startFakeRegistry();
  registry.push('team/app', '1', makeImage({ layers: [{ tar: makeLayer({ a: 'a' }) }] }));
  receiver = await startOtlpReceiver();
});
after(async () => {
  await registry.close();
  await receiver.close();
});

/** The modules that the service loads to start, to serve an image and to stop. */
async function loadedBy(main: string | undefined, env: Variables): Promise<Loaded> {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'loaded-'));
  const hook = join(folder.path, 'hook.mjs');
  await writeFile(hook, HOOK);
  await using service = await startBuiltService(
    { REGISTRY_URL: registry.url, ...env },
    { main, nodeArgs: ['--import', hook] },
  );
  assert.equal((await service.request('/docker/team_app_1.tar')).status, 200);
  assert.equal((await service.stop()).code, 0, service.output());

  const urls = new Set((await readFile(join(folder.path, 'loaded'), 'utf8')).trim().split('\n'));
  const files = [...urls].filter((url) => url.startsWith('file:')).map((url) => fileURLToPath(url));
  const texts = await Promise.all(files.map((file) => readFile(file, 'utf8')));
  const packages = new Set([
    ...files.flatMap((file) => /.*\/node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(file)?.[1] ?? []),
    ...texts.flatMap((text) => [...text.matchAll(PACKAGE_MARK)].map(([, name = '']) => name)),
  ]);
  return {
    files,
    packages: [...packages].sort(),
    hasSdk: texts.some((text) => text.includes(SDK_WORD)),
  };
}

const NO_ENDPOINT: Variables = {
  OTEL_EXPORTER_OTLP_ENDPOINT: '',
  OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: '',
  OTEL_EXPORTER_OTLP_METRICS_ENDPOINT: '',
  OTEL_EXPORTER_OTLP_LOGS_ENDPOINT: '',
};

const NO_EXPORTER: Variables = {
  OTEL_TRACES_EXPORTER: 'none',
  OTEL_METRICS_EXPORTER: 'none',
  OTEL_LOGS_EXPORTER: 'none',
};

function endpoint(): Variables {
  return { OTEL_EXPORTER_OTLP_ENDPOINT: receiver.endpoint };
}

for (const { program, main } of PROGRAMS) {
  describe(`${program} loads no package but the API`, { concurrency: true }, () => {
    const off: readonly [what: string, env: () => Variables][] = [
      ['no variable of OpenTelemetry', () => ({})],
      ['endpoints that are empty', () => NO_ENDPOINT],
      ['an endpoint and a disabled SDK', () => ({ ...endpoint(), OTEL_SDK_DISABLED: 'true' })],
      ['an endpoint and no exporter', () => ({ ...endpoint(), ...NO_EXPORTER })],
      ['settings for the SDK, and no endpoint', () => ({ ...NO_ENDPOINT, OTEL_LOG_LEVEL: 'debug' })],
    ];
    for (const [what, env] of off) {
      test(`with ${what}`, async () => {
        const received = receiver.requests;
        const { files, packages, hasSdk } = await loadedBy(main, env());
        assert.ok(
          files.some((file) => /\/main\.[jt]s$/.test(file)),
          files.join('\n'),
        );
        assert.deepEqual(packages, ['@opentelemetry/api']);
        assert.equal(hasSdk, false);
        assert.equal(receiver.requests, received);
      });
    }
  });
}

for (const { program, main } of PROGRAMS) {
  describe(`${program} loads the SDK, and no instrumentation but that of the runtime`, () => {
    const on: readonly [what: string, env: () => Variables][] = [
      ['with an endpoint', endpoint],
      [
        'with an endpoint for one signal',
        () => ({ ...NO_ENDPOINT, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: receiver.endpoint }),
      ],
    ];
    for (const [what, env] of on) {
      test(what, async () => {
        const received = receiver.requests;
        const { packages, hasSdk } = await loadedBy(main, env());
        const all = packages.join(' ');
        assert.ok(receiver.requests > received, 'something was exported');
        assert.equal(hasSdk, true);
        for (const name of ['@opentelemetry/sdk-node', '@opentelemetry/sdk-trace', '@grpc/grpc-js']) {
          assert.ok(packages.includes(name), all);
        }
        assert.deepEqual(
          packages.filter((name) => name.includes('/instrumentation-')),
          ['@opentelemetry/instrumentation-runtime-node'],
        );
        assert.doesNotMatch(all, /auto-instrumentations-node|resource-detector-|gcp-metadata/);
      });
    }
  });
}
