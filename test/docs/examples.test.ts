/** The examples of the documentation run. */

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { promisify } from 'node:util';
import { listTar } from '../support/collect.ts';
import { startFakeRegistry } from '../support/fake-registry.ts';
import { makeImage, makeLayer } from '../support/image.ts';
import { ROOT } from './markdown.ts';

const run = promisify(execFile);

const EXAMPLE = join(ROOT, 'docs', 'examples', 'pull-an-archive.ts');
const IMAGE = makeImage({ layers: [{ tar: makeLayer({ hello: 'world' }) }] });

describe('docs/examples/pull-an-archive.ts', () => {
  test('is short, and imports nothing of a face', async () => {
    const source = await readFile(EXAMPLE, 'utf8');
    assert.ok(source.trimEnd().split('\n').length <= 40);
    assert.doesNotMatch(source, /src\/(?:http|cli|config|main)/);
  });

  /** Runs the example in a folder of its own. */
  async function pull(reference: string, folder: string) {
    return await run(process.execPath, [EXAMPLE, reference, join(folder, 'app.tar')], {
      env: { ...process.env, TMPDIR: folder },
      timeout: 60_000,
    });
  }

  test('pulls an image to a file', async () => {
    await using registry = await startFakeRegistry();
    registry.push('team/app', '1', IMAGE);
    const folder = await mkdtemp(join(tmpdir(), 'example-'));
    try {
      const { stdout } = await pull(`${registry.host}/team/app:1`, folder);
      const archive = await readFile(join(folder, 'app.tar'));
      assert.equal(
        stdout,
        `${registry.host}/team/app:1: ${archive.length} bytes, ${IMAGE.manifest.digest}\n`,
      );
      const files = new Map(listTar(archive).map(({ name, content }) => [name, content]));
      const [{ RepoTags }] = JSON.parse(String(files.get('manifest.json')));
      assert.deepEqual(RepoTags, [`${registry.host}/team/app:1`]);
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  test('fails with the reason, and leaves no file', async () => {
    await using registry = await startFakeRegistry();
    const folder = await mkdtemp(join(tmpdir(), 'example-'));
    try {
      await assert.rejects(pull(`${registry.host}/team/none:1`, folder), /IMAGE_NOT_FOUND/);
      const left = await readdir(folder, { recursive: true });
      assert.deepEqual(left, []);
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});
