/** docs/configuration.md has every variable that the service reads, with its default, and no other. */

import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { loadConfig } from '../../src/config/config.ts';
import { quoted, ROOT, readPage, tableRows } from './markdown.ts';

type Variables = Readonly<Record<string, string>>;

interface Row {
  readonly names: readonly string[];
  /** The default as a value; `undefined` where the page describes it in words. */
  readonly value: string | undefined;
  readonly meaning: string;
}

const rows = tableRows(await readPage('docs/configuration.md'), '| variable | default | meaning |').map(
  ([names = '', otherwise = '', meaning = '']): Row => ({
    names: quoted(names),
    value: /^`([^`]+)`/.exec(otherwise)?.[1],
    meaning,
  }),
);

/** What the SDK of OpenTelemetry reads itself. */
const isPassedOn = ({ meaning }: Row) => meaning.startsWith('passed on to the SDK');

/** What Node.js reads when it starts. */
const OF_NODE = new Set(['NODE_EXTRA_CA_CERTS']);

/** An endpoint that only gRPC takes, and a key, so that every variable of telemetry and of signatures has an effect. */
const BASE: Variables = {
  OTEL_EXPORTER_OTLP_ENDPOINT: 'collector:4317',
  // Without keys, the rules for signatures are refused.
  SIGNATURE_KEYS: '/keys/release.pub',
};

/** Values other than the default, for variables that are no number. */
const OTHER: Variables = {
  ARCHIVE_GZIP: 'whole',
  ARCHIVE_START: 'early',
  IOX_ALLOW_PRIVILEGED: 'yes',
  IOX_DIGEST: 'sha1',
  IOX_PROFILE: 'c1.large',
  IOX_SCHEMA_VERSION: '2.17',
  HTTP_HOST: '127.0.0.1',
  HTTPS_ONLY: 'yes',
  STATUS_ALLOWED_NETWORKS: '10.0.0.0/8',
  LOG_LEVEL: 'debug',
  REGISTRY_URL: 'https://registry.example',
  REGISTRY_AUTH_URL: 'https://registry.example/token',
  REGISTRY_SERVICE: 'registry.example',
  REGISTRY_NAME: 'registry.example',
  REGISTRY_CLIENT_AUTH: 'off',
  REGISTRY_DEFAULT_NAMESPACE: 'team',
  REGISTRY_FOREIGN_LAYERS: 'fetch',
  REGISTRY_MIRRORS: 'ghcr.io=https://mirror.example',
  DEFAULT_PLATFORM: 'linux/arm64',
  SIGNATURE_KEYS: '/keys/other.pub',
  SIGNATURE_MATCH_REPOSITORY: 'yes',
  SIGNATURE_POLICY: 'warn',
  SIGNATURE_REQUIRED_FOR: 'ghcr.io/*',
  OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json',
  OTEL_TRACES_EXPORTER: 'console',
  OTEL_METRICS_EXPORTER: 'console',
  OTEL_LOGS_EXPORTER: 'console',
  OTEL_SDK_DISABLED: 'true',
  OTEL_PROPAGATE_UPSTREAM: 'true',
};

/** Names that `loadConfig` asks an environment for. */
function namesOfConfig(): ReadonlySet<string> {
  const names = new Set<string>();
  loadConfig(
    new Proxy<Variables>(
      {},
      {
        get: (_, name) => {
          names.add(String(name));
          return undefined;
        },
      },
    ),
  );
  return names;
}

/** Names that other sources read from the environment that they are given. */
async function namesInSources(): Promise<ReadonlySet<string>> {
  const folder = join(ROOT, 'src');
  const paths = (await readdir(folder, { recursive: true })).filter((path) => path.endsWith('.ts'));
  const sources = await Promise.all(paths.map((path) => readFile(join(folder, path), 'utf8')));
  const found = sources.flatMap((source) => [...source.matchAll(/\benvironment\['(\w+)'\]/g)]);
  return new Set(found.map(([, name = '']) => name));
}

/**
 * The configuration, without the two settings that say only whether a variable is set; or why it is refused. A default that
 * is written out gives the same as an unset variable then.
 */
function settings(variables: Variables): unknown {
  try {
    const { registry, ...config } = loadConfig({ ...BASE, ...variables });
    const { defaultNamespace: _, credentials, ...rest } = registry;
    const { boundTo: __, ...own } = credentials;
    return { ...config, registry: { ...rest, credentials: own } };
  } catch (error) {
    return String(error);
  }
}

const ofConfig = namesOfConfig();
const read = ofConfig.union(await namesInSources());
const documented = rows.flatMap(({ names }) => names);

describe('the table of variables', () => {
  test('has every variable that is read', () => {
    assert.ok(read.size > 60, `${read.size} variables`);
    assert.deepEqual([...read.difference(new Set(documented))], []);
  });

  test('has each variable once', () => {
    assert.deepEqual(
      documented.filter((name, at) => documented.indexOf(name) !== at),
      [],
    );
  });

  test('has no variable that nothing reads', () => {
    const others = rows.filter((row) => !isPassedOn(row)).flatMap(({ names }) => names);
    assert.deepEqual([...new Set(others).difference(read).difference(OF_NODE)], []);
  });

  test('says of none that it is passed on only, except standard ones that are not read here', () => {
    const passedOn = rows.filter(isPassedOn).flatMap(({ names }) => names);
    assert.deepEqual(
      passedOn.filter((name) => !name.startsWith('OTEL_') || read.has(name)),
      [],
    );
  });

  test('explains each variable', () => {
    assert.deepEqual(
      rows.filter(({ meaning }) => meaning === '').flatMap(({ names }) => names),
      [],
    );
  });
});

describe('the default of', () => {
  const unset = settings({});
  for (const { names, value } of rows) {
    for (const name of names) {
      if (value === undefined || !ofConfig.has(name)) continue;
      test(`${name} is ${value}`, () => {
        assert.deepEqual(settings({ [name]: value }), unset);
        const other = OTHER[name] ?? value.replace(/^\d+/, (digits) => String(Number(digits) + 1));
        assert.notEqual(other, value, 'OTHER has no second value, so that the comparison proves nothing');
        assert.notDeepEqual(settings({ [name]: other }), unset);
      });
    }
  }

  test('WORKSPACE_DIR is the folder that the page names', async () => {
    const { workspaceDirectory } = loadConfig({});
    assert.equal(workspaceDirectory, tmpdir());
    const page = await readPage('docs/configuration.md');
    assert.ok(page.includes("| `WORKSPACE_DIR` | the system's temporary folder |"));
  });
});
