import assert from 'node:assert/strict';
import { cp, symlink } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { request } from '../support/service.ts';
import { startProcess, temporaryFolder } from './binary.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

// npm 11 passes these signals to its child, `sh -c`. Without `exec` in the script, dash would end by the signal, while the service
// would keep running.
for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  test(`npm start ends with the service and frees the port after ${signal} to npm`, async () => {
    await using folder = await temporaryFolder();
    // Not in the repository, where a developer's `.env` may be.
    await cp(join(ROOT, 'package.json'), join(folder.path, 'package.json'));
    for (const name of ['src', 'node_modules']) await symlink(join(ROOT, name), join(folder.path, name));
    const env = { HTTP_HOST: '127.0.0.1', HTTP_PORT: '0', WORKSPACE_DIR: 'workspace' };
    const npm = { npm_config_cache: 'npm', npm_config_loglevel: 'silent' };
    await using program = startProcess('npm', ['start'], {
      env: { ...env, ...npm },
      cwd: folder.path,
      isGroup: true,
    });
    const port = Number((await program.waitForEvent('listening'))['port']);
    assert.equal((await request(port, '/health')).status, 200);

    program.child.kill(signal);
    const { code, stderr } = await program.ended();
    assert.deepEqual([code, stderr], [0, '']);
    assert.equal((await program.waitForEvent('stopping'))['signal'], signal);
    const next = createServer().listen(port, '127.0.0.1');
    await new Promise((resolve, reject) => next.once('listening', resolve).once('error', reject));
    next.close();
  });
}
