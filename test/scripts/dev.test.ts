/** `npm run dev` serves an image of its own, and serves what the sources say after they have changed. */

import assert from 'node:assert/strict';
import { cp, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { startProcess, temporaryFolder } from '../cli/binary.ts';
import { ROOT } from '../docs/markdown.ts';
import { request } from '../support/service.ts';

test('npm run dev starts the service again when a source changes', async () => {
  await using folder = await temporaryFolder();
  for (const name of ['src', 'scripts', 'test/support', 'package.json', 'tsconfig.json']) {
    await cp(join(ROOT, name), join(folder.path, name), { recursive: true });
  }
  await symlink(join(ROOT, 'node_modules'), join(folder.path, 'node_modules'));
  const env = { HTTP_HOST: '127.0.0.1', HTTP_PORT: '0', LOG_LEVEL: 'info' };
  await using program = startProcess(process.execPath, ['scripts/dev.ts'], {
    env,
    cwd: folder.path,
    isGroup: true,
  });

  const first = await program.waitForListening(1);
  const path = '/docker/demo_hello_1.0.tar';
  assert.equal((await request(first, path)).status, 200);

  const source = join(folder.path, 'src', 'http', 'routing', 'usage.ts');
  const text = await readFile(source, 'utf8');
  await writeFile(
    source,
    text.replace('docker-http-passthrough: container images', 'CHANGED: container images'),
  );
  const second = await program.waitForListening(2);
  assert.match((await request(second, '/')).body.toString(), /^CHANGED: container images/);
  assert.equal((await request(second, path)).status, 200);

  program.child.kill('SIGTERM');
  assert.equal((await program.ended()).code, 0);
});
