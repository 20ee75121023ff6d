/** Files that repeat what another file says are fresh: `npm run configuration` and package.json. */

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { composeFile, envExample } from '../../scripts/configuration.ts';
import { ROOT, readPage } from '../docs/markdown.ts';

const read = (path: string) => readFile(join(ROOT, path), 'utf8');
const page = await readPage('docs/configuration.md');

/** A table with all kinds of rows. */
const TABLE = `text
| variable | default | meaning |
|---|---|---|
| \`HTTP_PORT\` | \`8080\` | port to listen on |
| \`A\`, \`B\` | half of \`x\` | [one](a.md) thing |

more`;

describe('.env.example', () => {
  test('has each variable as a comment, with its default if that is a value', () => {
    const [, ...blocks] = envExample(TABLE).split('\n\n');
    assert.deepEqual(blocks, [
      '# Port to listen on. Default: 8080.\n#HTTP_PORT=8080',
      '# One thing. Default: half of x.\n#A=\n#B=\n',
    ]);
  });

  test('is what npm run configuration writes', async () => {
    assert.equal(await read('.env.example'), envExample(page), 'out of date: npm run configuration');
  });

  test('sets nothing when it is copied as it is', async () => {
    const lines = (await read('.env.example')).split('\n');
    assert.deepEqual(
      lines.filter((line) => line !== '' && !line.startsWith('#')),
      [],
    );
  });
});

describe('compose.yaml', () => {
  test('passes on the variables of the table, except those of the container itself', () => {
    const [start, end] = [
      '      # Passed on if set: npm run configuration\n',
      '      # End of the variables that are passed on\n',
    ];
    const compose = `a\n${start}      - OLD\n${end}b\n`;
    assert.equal(composeFile(compose, TABLE), `a\n${start}      - A\n      - B\n${end}b\n`);
    assert.throws(() => composeFile('a\n', TABLE), /Cannot find the list/);
  });

  test('is what npm run configuration writes', async () => {
    const compose = await read('compose.yaml');
    assert.equal(compose, composeFile(compose, page), 'out of date: npm run configuration');
  });
});

describe('the version of package.json is that of', () => {
  const files: readonly [path: string, pattern: RegExp][] = [
    ['Dockerfile', /^ARG VERSION=(\S+)$/m],
    ['docker-bake.hcl', /^variable "VERSION" \{\n {2}default = "([^"]+)"$/m],
  ];
  for (const [path, pattern] of files) {
    test(path, async () => {
      const { version } = JSON.parse(await read('package.json'));
      assert.equal(pattern.exec(await read(path))?.[1], version);
    });
  }

  test('Dockerfile and docker-bake.hcl name the same base', async () => {
    const [, base] = /^ARG NODE_IMAGE=(\S+)$/m.exec(await read('Dockerfile')) ?? [];
    assert.ok((await read('docker-bake.hcl')).includes(`variable "NODE_IMAGE" {\n  default = "${base}"\n`));
  });
});
