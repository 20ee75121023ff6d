/** The program on a pseudo-terminal, which `script` of util-linux gives it. */

import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { stripVTControlCharacters } from 'node:util';
import { builtMain } from '../support/built-service.ts';
import { type FakeRegistry, startFakeRegistry } from '../support/fake-registry.ts';
import { makeImage, makeLayer } from '../support/image.ts';
import { temporaryFolder } from './binary.ts';
import { type RunOptions, startOf } from './command.ts';

/** Escape and the sequences that move the cursor or colour text. */
const ESCAPE = '\u001b';

const ONE = makeImage({ layers: [{ tar: makeLayer({ one: 'one' }) }] });

/** Runs the program on a terminal. @returns what the terminal got, and the exit code */
async function onTerminal(line: string, { env, cwd }: RunOptions, columns = 100) {
  const command = `stty cols ${columns} rows 24; '${process.execPath}' '${await builtMain()}' ${line}`;
  const args = ['--quiet', '--return', '--command', command, '/dev/null'];
  const { code, stdout } = await startOf('script', args, {
    cwd,
    env: { SHELL: '/bin/sh', TERM: 'xterm', ...env },
  }).ended;
  return { code, text: String(stdout) };
}

describe('on a terminal', { concurrency: 2 }, () => {
  let registry: FakeRegistry;
  let ref = '';
  before(async () => {
    registry = await startFakeRegistry();
    registry.push('team/app', '1', ONE);
    ref = `${registry.host}/team/app:1`;
  });
  after(() => registry.close());

  test('pull draws bars, erases them, and ends with one line', async () => {
    await using folder = await temporaryFolder();
    const { code, text } = await onTerminal(`pull -o linux -a amd64 ${ref} app.tar`, { cwd: folder.path });
    assert.equal(code, 0, text);
    assert.deepEqual(await readdir(folder.path), ['app.tar']);
    assert.match(text, /100% /);
    assert.ok(text.includes(`${ESCAPE}[0J`), 'the bars are erased');
    const plain = stripVTControlCharacters(text).trimEnd().split(/\r?\n/);
    assert.match(plain.at(-1) ?? '', /^Pulled .* \(linux\/amd64, sha256:[0-9a-f]{64}\) to app\.tar: \d/);
  });

  for (const columns of [20, 40, 80, 200]) {
    test(`no line of the bars is wider than a terminal of ${columns} columns`, async () => {
      await using folder = await temporaryFolder();
      const { code, text } = await onTerminal(`pull -a amd64 ${ref} app.tar`, { cwd: folder.path }, columns);
      assert.equal(code, 0, text);
      const drawn = text.slice(0, text.lastIndexOf('Pulled '));
      const widths = stripVTControlCharacters(drawn)
        .split(/[\r\n]+/)
        .map((line) => line.length);
      assert.ok(Math.max(...widths) > 10, text);
      assert.ok(Math.max(...widths) <= columns, text);
    });
  }

  const quiet: readonly [
    what: string,
    line: string,
    env: Record<string, string>,
    seen: RegExp,
    unseen: RegExp,
  ][] = [
    ['NO_COLOR leaves the colour out', '', { NO_COLOR: '1' }, /\[=+\]/, /\^\[\[3\d+m/],
    ['a colour is used otherwise', '', {}, /\^\[\[32m=+/, /^$/],
    ['TERM=dumb gets lines', '', { TERM: 'dumb' }, /^Pulling .*\r?\nPulled /, /\^\[|=/],
    ['-q gets nothing', '-q', {}, /^$/, /./],
  ];
  for (const [what, options, env, seen, unseen] of quiet) {
    test(what, async () => {
      await using folder = await temporaryFolder();
      const { code, text } = await onTerminal(`pull ${options} -a amd64 ${ref} app.tar`, {
        cwd: folder.path,
        env,
      });
      assert.equal(code, 0, text);
      const shown = text.replaceAll(ESCAPE, '^[');
      assert.match(shown, seen);
      assert.doesNotMatch(shown, unseen);
    });
  }

  test('an archive is not written to it', async () => {
    const { code, text } = await onTerminal(`pull ${ref} -`, {});
    assert.equal(code, 2);
    assert.match(
      text,
      /Cannot write the archive to standard output: it is a terminal\r\nName a file in place of -/,
    );
  });

  test('an archive is not written to it by the name of its device either', async () => {
    const { code, text } = await onTerminal(`pull ${ref} /dev/stdout`, {});
    assert.equal(code, 2);
    assert.match(
      text,
      /^[^\n]*Cannot write the archive to "\/dev\/stdout": it is a terminal\r\nName a file, or pipe /,
    );
  });

  test('a manifest is indented', async () => {
    const { code, text } = await onTerminal(`manifest ${ref}`, {});
    assert.equal(code, 0);
    const expected = `${JSON.stringify(JSON.parse(String(ONE.manifest.bytes)), null, 2)}\n`;
    assert.equal(text.replaceAll('\r', ''), expected);
  });

  test('Ctrl-C leaves the screen without bars and the folder without files', async () => {
    await using stalled = await startFakeRegistry({ defects: { stallRequests: { pattern: /\/blobs\// } } });
    stalled.push('team/app', '1', ONE);
    await using folder = await temporaryFolder();
    const program = `'${process.execPath}' '${await builtMain()}' pull -a amd64 ${stalled.host}/team/app:1 app.tar`;
    const args = ['--quiet', '--return', '--command', program, '/dev/null'];
    const running = startOf('script', args, {
      cwd: folder.path,
      env: { SHELL: '/bin/sh', TERM: 'xterm', WORKSPACE_DIR: join(folder.path, 'work') },
      keepsInputOpen: true,
    });
    await stalled.waitForStalled();
    running.child.stdin?.write('\u0003');
    const { code, stdout } = await running.ended;
    assert.equal(code, 130, String(stdout));
    assert.match(String(stdout), /Stopped by SIGINT\r\n$/);
    assert.deepEqual(await readdir(folder.path, { recursive: true }), ['work']);
  });

  test('the file that is written is the one of a pipe', async () => {
    await using folder = await temporaryFolder();
    await onTerminal(`pull -q -a amd64 ${ref} a.tar`, { cwd: folder.path });
    const { stdout } = await startOf(
      process.execPath,
      [await builtMain(), 'pull', '-q', '-a', 'amd64', ref, '-'],
      {},
    ).ended;
    assert.ok(stdout.equals(await readFile(join(folder.path, 'a.tar'))));
  });
});
