import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { imageRequestAt, updateOf } from '../../src/pull/request.ts';
import { registryHost } from '../../src/registry/registry-host.ts';
import { refusal } from './pulling.ts';

describe('the base of an update', () => {
  const table: readonly [scheme: string, host: string, since: string, base: string | undefined][] = [
    ['http', 'registry.example', 'registry.example/org/app:1', 'org/app'],
    ['http', 'registry.example', 'registry.example:80/org/app:1', 'org/app'],
    ['https', 'registry.example', 'registry.example:443/org/app:1', 'org/app'],
    ['https', 'registry.example:443', 'registry.example/org/app:1', 'org/app'],
    ['https', 'docker.io', 'index.docker.io/nginx:1', 'library/nginx'],
    ['https', 'registry.example', 'registry.example:80/org/app:1', undefined],
    ['http', 'registry.example:5000', 'registry.example/org/app:1', undefined],
    ['https', 'registry.example', 'docker.io/nginx:1', undefined],
  ];
  for (const [scheme, host, since, base] of table) {
    test(`${since} is ${base === undefined ? 'not ' : ''}at ${scheme}://${host}`, async () => {
      const image = imageRequestAt(registryHost(scheme, host), {
        repository: 'team/app',
        tag: '2',
        digest: undefined,
      });
      const update = async () => updateOf(image, since);
      if (base === undefined) await refusal(update(), 'INVALID_REFERENCE');
      else assert.equal((await update()).base?.repository, base);
    });
  }
});
