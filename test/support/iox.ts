/** Reads packages for Cisco IOx without the code of the product. */

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import Ajv from 'ajv-draft-04';
import { parse } from 'yaml';
import { listTar } from './collect.ts';
import { makeImage, makeLayer } from './image.ts';

/** The parts of a package. */
export interface ReadPackage {
  /** Names of all entries, in their order. */
  readonly names: readonly string[];
  readonly descriptor: string;
  readonly digests: string | undefined;
  readonly artifacts: Buffer;
  readonly rootfs: Buffer;
}

/** Reads a package. What is no plain file in it is a failure. */
export function readPackage(body: Buffer): ReadPackage {
  const entries = listTar(body);
  assert.ok(entries.every(({ type }) => type === 'file'));
  const files = new Map(entries.map(({ name, content }) => [name, content]));
  const artifacts = files.get('artifacts.tar.gz') ?? assert.fail('no artifacts');
  const inner = listTar(gunzipSync(artifacts));
  assert.deepEqual(
    inner.map(({ name }) => name),
    ['rootfs.tar'],
  );
  return {
    names: entries.map(({ name }) => name),
    descriptor: String(files.get('package.yaml')),
    digests: files.get('package.mf')?.toString(),
    artifacts,
    rootfs: inner[0]?.content ?? Buffer.alloc(0),
  };
}

/** The lines of `package.mf` for a package. */
export function expectedDigests(
  { descriptor, artifacts }: ReadPackage,
  algorithm: 'sha256' | 'sha1',
): string {
  const files: readonly [name: string, bytes: Buffer][] = [
    ['package.yaml', Buffer.from(descriptor)],
    ['artifacts.tar.gz', artifacts],
  ];
  return files
    .map(([name, bytes]) => {
      const hex = createHash(algorithm).update(bytes).digest('hex');
      return `${algorithm.toUpperCase()}(${name})= ${hex}\n`;
    })
    .join('');
}

const validators = new Map<string, (value: unknown) => boolean>();

/** Checks a descriptor against Cisco's schema of its version, and returns what it says. */
export function validDescriptor(yaml: string): Record<string, unknown> {
  const value: unknown = parse(yaml, { version: '1.1' });
  assert.deepEqual(parse(yaml, { version: '1.2' }), value);
  assert.ok(typeof value === 'object' && value !== null);
  const fields: Record<string, unknown> = { ...value };
  const version = fields['descriptor-schema-version'];
  assert.ok(typeof version === 'string', 'the version is a text');
  const known = validators.get(version);
  if (known !== undefined) {
    assert.ok(known(value), yaml);
    return fields;
  }
  const schema = JSON.parse(
    readFileSync(new URL(`../archive/iox/schemas/schema_${version}.json`, import.meta.url), 'utf8'),
  );
  // A union of types as Cisco writes it is no fault here.
  const ajv = new Ajv.default({ strict: false });
  const validate = ajv.compile(schema);
  validators.set(version, (one) => validate(one) === true);
  assert.ok(validate(value), `${JSON.stringify(validate.errors)}\n${yaml}`);
  return fields;
}

/** An image with settings of its application. */
export function applicationImage(config: Readonly<Record<string, unknown>> = {}, architecture = 'amd64') {
  return makeImage({
    platform: { os: 'linux', architecture },
    layers: [
      { tar: makeLayer({ 'bin/app': 'app '.repeat(5000) }) },
      { tar: makeLayer({ 'etc/app.conf': 'port = 8080' }) },
    ],
    config: { config: { Cmd: ['/bin/app'], ...config } },
  });
}
