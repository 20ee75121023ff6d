/** The workflows fit the syntax of GitHub Actions, ask for little, and run scripts that exist and work. */

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { chmod, cp, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { build } from 'esbuild';
import { parse } from 'yaml';
import { ROOT } from '../docs/markdown.ts';

const run = promisify(execFile);

const FOLDER = join(ROOT, '.github', 'workflows');

/** A full commit, and the version that it is. A tag could move to other code. */
const PINNED = /^ *- uses: [\w.-]+\/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$/;

const COMMIT = '0123456789abcdef0123456789abcdef01234567';

interface Step {
  readonly run?: string;
  readonly uses?: string;
  readonly with?: Readonly<Record<string, unknown>>;
}

interface Workflow {
  readonly permissions: unknown;
  readonly jobs: Readonly<
    Record<
      string,
      { readonly 'timeout-minutes'?: number; readonly permissions?: object; readonly steps: readonly Step[] }
    >
  >;
}

/** What the test takes of the parser. */
interface Parser {
  parseWorkflow(
    file: { name: string; content: string },
    trace: { info(): void; verbose(): void; error(): void },
  ): { context: { errors: { getErrors(): readonly { message: string }[] } } };
}

const names = await readdir(FOLDER);
const texts = new Map(
  await Promise.all(names.map(async (name) => [name, await readFile(join(FOLDER, name), 'utf8')] as const)),
);

describe('a workflow', () => {
  let folder = '';
  let parser: Parser;
  before(async () => {
    // The package has JSON imports without attributes, which Node refuses.
    folder = await mkdtemp(join(tmpdir(), 'workflow-parser-'));
    const outfile = join(folder, 'parser.cjs');
    await build({
      stdin: { contents: "export { parseWorkflow } from '@actions/workflow-parser';", resolveDir: ROOT },
      ...{ outfile, bundle: true, platform: 'node', format: 'cjs', logLevel: 'error' },
    });
    parser = (await import(outfile)) as Parser;
  });
  after(() => rm(folder, { recursive: true, force: true }));

  const faults = (name: string, content: string) => {
    const trace = { info: () => {}, verbose: () => {}, error: () => {} };
    return parser
      .parseWorkflow({ name, content }, trace)
      .context.errors.getErrors()
      .map(({ message }) => message);
  };

  test('is there for checks, publishing and code scanning', () => {
    assert.deepEqual(names.toSorted(), ['ci.yml', 'code-scanning.yml', 'publish.yml']);
  });

  test('with an unknown key is found', () => {
    const broken = (texts.get('ci.yml') ?? '').replace('runs-on:', 'run-on:');
    assert.match(faults('ci.yml', broken).join('\n'), /run-on/);
  });

  for (const [name, text] of texts) {
    const workflow = parse(text) as Workflow;
    const steps = Object.values(workflow.jobs).flatMap((job) => job.steps);

    test(`${name} has the syntax of GitHub`, () => assert.deepEqual(faults(name, text), []));

    test(`${name} can read and no more, except where a job says so, and ends`, () => {
      assert.deepEqual(workflow.permissions, { contents: 'read' });
      for (const job of Object.values(workflow.jobs)) {
        assert.ok((job['timeout-minutes'] ?? 360) <= 90);
        assert.ok(!Object.keys(job.permissions ?? {}).includes('actions'));
      }
    });

    test(`${name} takes actions by commit, and leaves no credentials in the checkout`, () => {
      const uses = text.split('\n').filter((line) => line.includes('uses:'));
      assert.deepEqual(
        uses.filter((line) => !PINNED.test(line)),
        [],
      );
      const checkouts = steps.filter((step) => step.uses?.startsWith('actions/checkout@') === true);
      for (const step of checkouts) assert.equal(step.with?.['persist-credentials'], false);
    });

    test(`${name} runs scripts that exist`, async () => {
      for (const { run: script } of steps) {
        if (script === undefined) continue;
        assert.match(script, /^[\w./-]+$/, 'no text of an event can get into a shell');
        assert.equal((await stat(join(ROOT, script))).mode & 0o111, 0o111, script);
        await run('bash', ['-n', join(ROOT, script)]);
      }
    });
  }
});

describe('the script', () => {
  let folder = '';
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'publish-'));
    for (const path of ['scripts/publish', 'scripts/image-tags.ts', 'package.json', 'deploy/systemd']) {
      await cp(join(ROOT, path), join(folder, path), { recursive: true });
    }
    await mkdir(join(folder, 'bin'));
    // Each stand-in writes down how it was called.
    const record = `#!/bin/sh\necho "\${0##*/} $*\${TAGS:+ [$TAGS]}" >>"${folder}/calls"\n`;
    const programs: readonly [name: string, more: string][] = [
      [
        'docker',
        `for at; do case $at in */tmp.*) echo '{"image-push":{"containerimage.digest":"sha256:abc"}}' >"$at";; esac; done\n`,
      ],
      [
        'npm',
        'if [ "$2" = build:binary ]; then mkdir -p binary; echo program >binary/docker-http-passthrough; fi\n',
      ],
      ['cosign', 'for at; do case $at in *.json) echo {} >"$at";; esac; done\n'],
      ['gh', ''],
    ];
    for (const [name, more] of programs) {
      await writeFile(join(folder, 'bin', name), record + more);
      await chmod(join(folder, 'bin', name), 0o755);
    }
  });
  after(() => rm(folder, { recursive: true, force: true }));

  /** Runs a script, and returns what it has called; temporary files have no name that can be compared. */
  async function calls(script: string, env: Readonly<Record<string, string>>): Promise<readonly string[]> {
    await writeFile(join(folder, 'calls'), '');
    await run(join(folder, 'scripts', 'publish', script), {
      cwd: folder,
      env: {
        PATH: `${join(folder, 'bin')}:${process.env['PATH']}`,
        TMPDIR: folder,
        GITHUB_SHA: COMMIT,
        ...env,
      },
    });
    const text = await readFile(join(folder, 'calls'), 'utf8');
    return text
      .replaceAll(/\S*\/tmp\.\w+/g, 'FILE')
      .trim()
      .split('\n');
  }

  const IMAGE = 'ghcr.io/Cisco-Open/docker-http-passthrough';

  test('image.sh only builds for a pull request', async () => {
    assert.deepEqual(await calls('image.sh', { IMAGE, PUSH: 'false', GITHUB_REF: 'refs/pull/1/merge' }), [
      'docker buildx bake image-all',
    ]);
  });

  test('image.sh pushes the tags of a version and signs the digest', async () => {
    assert.deepEqual(await calls('image.sh', { IMAGE, PUSH: 'true', GITHUB_REF: 'refs/tags/v0.1.0' }), [
      'docker buildx bake --metadata-file FILE image-push [0.1.0,0.1,sha-0123456789ab]',
      'cosign sign --yes ghcr.io/cisco-open/docker-http-passthrough@sha256:abc [0.1.0,0.1,sha-0123456789ab]',
    ]);
  });

  test('image.sh pushes nothing for a ref without tags', async () => {
    await assert.rejects(
      calls('image.sh', { IMAGE, PUSH: 'true', GITHUB_REF: 'refs/tags/x' }),
      /Cannot publish/,
    );
    assert.equal(await readFile(join(folder, 'calls'), 'utf8'), '');
  });

  test('npm.sh publishes the version of the tag, and no other', async () => {
    const { version } = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8'));
    assert.deepEqual(await calls('npm.sh', { GITHUB_REF_NAME: `v${version}` }), [
      'npm ci',
      'npm publish --provenance --access public --tag latest',
    ]);
    await assert.rejects(calls('npm.sh', { GITHUB_REF_NAME: 'v9.9.9' }), /the tag is v9\.9\.9/);
    assert.equal(await readFile(join(folder, 'calls'), 'utf8'), '');
  });

  test('binary.sh packs the executable, and release.sh publishes it with checksums and a signature', async () => {
    assert.deepEqual(await calls('binary.sh', {}), ['npm ci', 'npm run build:binary']);
    const [archive = ''] = await readdir(join(folder, 'release'));
    assert.match(archive, /^docker-http-passthrough-\d+\.\d+\.\d+-linux-\w+\.tar\.gz$/);
    const { stdout } = await run('tar', ['-tzf', join(folder, 'release', archive)]);
    const inside = archive.replace('.tar.gz', '');
    assert.deepEqual(stdout.trim().split('\n'), [
      `${inside}/`,
      `${inside}/docker-http-passthrough`,
      `${inside}/docker-http-passthrough.service`,
    ]);

    assert.deepEqual(await calls('release.sh', { GITHUB_REF_NAME: 'v0.2.0-rc.1' }), [
      'cosign sign-blob --yes --bundle SHA256SUMS.sigstore.json SHA256SUMS',
      `gh release create v0.2.0-rc.1 --verify-tag --title v0.2.0-rc.1 --notes CHANGELOG.md has what is new. --prerelease ./${archive} SHA256SUMS SHA256SUMS.sigstore.json`,
    ]);
    await run('sha256sum', ['-c', 'SHA256SUMS'], { cwd: join(folder, 'release') });
  });
});
