/** The examples of docs/library.md run against the built package, and their types are right. */

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { copyFile, mkdir, mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { build } from '../../scripts/build.ts';
import { verify } from '../../src/tarball.ts';
import { makeImage, makeLayer } from '../support/image.ts';
import { manifestJson, tarOf } from '../tarball/flavours.ts';
import { codeBlocks, ROOT, readPage } from './markdown.ts';

const run = promisify(execFile);

/** Longest run of an example or of the compiler, in milliseconds. */
const RUN_LIMIT_MS = 180_000;

const IMAGE = makeImage({ layers: [{ tar: makeLayer({ hello: 'world' }), compression: 'none' }] });
const page = await readPage('docs/library.md');
/** The examples for archives; `test/real/package.test.ts` runs those for registries. */
const examples = codeBlocks(page.slice(0, page.indexOf('\n## Pull images\n'))).filter(
  ({ language }) => language === 'js',
);

describe('docs/library.md', () => {
  let folder = '';
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'library-'));
    const installed = join(folder, 'node_modules', 'docker-http-passthrough');
    await mkdir(join(folder, 'node_modules', '@types'), { recursive: true });
    await build(join(installed, 'dist'), { declarations: true });
    await copyFile(join(ROOT, 'package.json'), join(installed, 'package.json'));
    for (const name of ['@types/node', 'undici-types']) {
      await symlink(join(ROOT, 'node_modules', name), join(folder, 'node_modules', name));
    }
    await writeFile(join(folder, 'package.json'), '{"type":"module"}');
    const [layer] = IMAGE.layers;
    const archive = tarOf({
      'layer.tar': layer?.blob ?? '',
      'config.json': IMAGE.config.bytes,
      'manifest.json': manifestJson({ RepoTags: ['ubuntu:latest'], Layers: ['layer.tar'] }),
    });
    await writeFile(join(folder, 'ubuntu.tar'), archive);
  });
  after(() => rm(folder, { recursive: true, force: true }));

  test('has examples that run, one after the other', async () => {
    assert.ok(examples.length >= 4);
    const printed: string[] = [];
    for (const [index, { text }] of examples.entries()) {
      const file = join(folder, `example-${index}.js`);
      await writeFile(file, text);
      const { stdout, stderr } = await run(process.execPath, [file], { cwd: folder, timeout: RUN_LIMIT_MS });
      assert.equal(stderr, '');
      printed.push(stdout);
    }
    const [copied = '', shown = '', verified = '', made = ''] = printed;
    assert.match(copied, /^newest\.tar has \d+ bytes\n$/);
    assert.match(shown, new RegExp(`'ubuntu:newest'.*${IMAGE.config.digest}.*linux.*amd64`, 's'));
    const [report = '', same] = verified.trim().split('\n');
    const [image] = (JSON.parse(report) as Awaited<ReturnType<typeof verify>>).images;
    assert.deepEqual([image?.tags, same], [['ubuntu:newest'], 'true']);
    assert.match(made, /app\.tar is complete\n$/);
    const { images } = await verify(join(folder, 'app.tar'));
    assert.deepEqual(
      images.map(({ tags, layers }) => [tags, layers.length]),
      [[['lab/app:1', 'lab/app:latest'], 2]],
    );
    assert.deepEqual(
      (await readdir(folder)).filter((name) => name.endsWith('.tar')),
      ['app.tar', 'newest.tar', 'top.tar', 'ubuntu.tar'],
    );
  });

  test('has examples that compile', async () => {
    await Promise.all(
      examples.map(({ text }, index) =>
        writeFile(join(folder, `typed-${index}.ts`), `${text}\nexport {};\n`),
      ),
    );
    const compilerOptions = {
      ...{ module: 'nodenext', target: 'esnext', lib: ['esnext'], types: ['node'] },
      ...{ strict: true, noEmit: true, exactOptionalPropertyTypes: true, skipLibCheck: false },
    };
    await writeFile(
      join(folder, 'tsconfig.json'),
      JSON.stringify({ compilerOptions, include: ['typed-*.ts'] }),
    );
    const compiler = join(ROOT, 'node_modules', '.bin', 'tsc');
    const { stdout } = await run(compiler, ['-p', folder], { timeout: RUN_LIMIT_MS }).catch(
      (error: { readonly stdout: string }) => error,
    );
    assert.equal(stdout, '');
  });
});
