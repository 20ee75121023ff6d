/** The labels of docs/cisco-iox.md are taken as they stand. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseApplicationConfig } from '../../src/archive/iox/application-config.ts';
import { ioxDescriptor } from '../../src/archive/iox/descriptor.ts';
import { DEFAULT_OPTIONS } from '../../src/pull/options.ts';
import { validDescriptor } from '../support/iox.ts';
import { codeBlocks, readPage } from './markdown.ts';

/** The labels of a Dockerfile's LABEL instruction. */
function labelsOf(dockerfile: string): Readonly<Record<string, string>> {
  const pairs = dockerfile.matchAll(/(?:^LABEL)?\s+([\w.-]+)=(?:"([^"]*)"|([^\s\\]+))/gm);
  return Object.fromEntries([...pairs].map(([, name = '', quoted, plain = '']) => [name, quoted ?? plain]));
}

test('the labels of the example make a valid descriptor that has all of them', async () => {
  const page = await readPage('docs/cisco-iox.md');
  const [block] = codeBlocks(page).filter(({ language }) => language === 'dockerfile');
  const labels = labelsOf(block?.text ?? '');
  assert.equal(Object.keys(labels).length, 7);
  const { yaml, leftOut } = ioxDescriptor(
    {
      name: { registryName: 'docker.io', repository: 'team/app', tag: '1.2' },
      platform: { os: 'linux', architecture: 'amd64' },
      application: parseApplicationConfig(Buffer.from(JSON.stringify({ config: { Labels: labels } }))),
    },
    undefined,
    DEFAULT_OPTIONS.iox,
  );
  assert.deepEqual(leftOut, []);
  const { info, app } = validDescriptor(yaml) as Record<string, Record<string, Record<string, unknown>>>;
  assert.equal(info?.['name'], 'sensor');
  assert.deepEqual(app?.['resources'], {
    ...{ profile: 'custom', cpu: 400, memory: 256 },
    network: [{ 'interface-name': 'eth0', ports: { tcp: [8080] } }],
  });
  assert.deepEqual(app?.['startup'], { rootfs: 'rootfs.tar', target: ['/app', '--port', '8080'] });
});
