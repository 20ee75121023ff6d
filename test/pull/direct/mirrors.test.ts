/** Files that are written while their layers arrive from mirrors. */

import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { ImageService } from '../../../src/pull/image-service.ts';
import type { Progress } from '../../../src/pull/progress.ts';
import { archiveRequest, imageRequest } from '../../../src/pull/request.ts';
import { parseMirrorRules } from '../../../src/registry/mirrors/mirror-rules.ts';
import { DOCKER_HUB } from '../../../src/registry/registry-host.ts';
import { APP, BASE_DIGEST } from '../../support/cached.ts';
import type { Defects } from '../../support/defects.ts';
import { startFakeRegistry } from '../../support/fake-registry.ts';
import { NEVER } from '../pulling.ts';

const POLICY = { defaultHost: DOCKER_HUB, defaultNamespace: '', allowedHosts: undefined, plainHttpHosts: [] };

const FAULTS: Readonly<Record<string, Defects>> = {
  'wrong bytes': { wrongBlobDigest: { digest: BASE_DIGEST } },
  'too many bytes': { wrongBlobSize: { digest: BASE_DIGEST, by: 5 } },
  'a part': { truncateBlob: { digest: BASE_DIGEST, afterBytes: 60_000 } },
};

async function start(defects: Defects) {
  await using stack = new AsyncDisposableStack();
  const registry = stack.use(await startFakeRegistry());
  const mirror = stack.use(await startFakeRegistry({ defects }));
  for (const server of [registry, mirror]) server.push('team/app', '1', APP);
  const folder = await mkdtemp(join(tmpdir(), 'pull-to-'));
  stack.defer(() => rm(folder, { recursive: true }));
  const mirrors = parseMirrorRules(`${registry.host}=${mirror.origin}`);
  const images = await ImageService.open({ workspaceDirectory: folder, registry: { mirrors } });
  stack.defer(() => images.close());
  const plain = await ImageService.open({ workspaceDirectory: folder });
  stack.defer(() => plain.close());
  const all = stack.move();
  return {
    ...{ registry, mirror, images, plain, folder },
    [Symbol.asyncDispose]: () => all.disposeAsync(),
  };
}

describe('a file is right although a mirror gives', () => {
  for (const [fault, defects] of Object.entries(FAULTS)) {
    for (const layout of ['docker', 'docker-gzip', 'oci'] as const) {
      test(`${fault}: ${layout}`, async () => {
        await using scene = await start(defects);
        const image = imageRequest(`${scene.registry.host}/team/app:1`, POLICY);
        const request = archiveRequest([image], { layout });
        const [right, other] = [join(scene.folder, 'right.tar'), join(scene.folder, 'other.tar')];
        await scene.plain.pullTo(request, right, { signal: NEVER });
        const seen: Progress[] = [];
        await scene.images.pullTo(request, other, {
          signal: NEVER,
          onProgress: (progress) => void seen.push(progress),
        });
        assert.ok((await readFile(other)).equals(await readFile(right)));
        const done = seen.map(({ bytes }) => bytes.done);
        assert.deepEqual(
          done,
          done.toSorted((one, next) => one - next),
          'progress never goes back',
        );
        const last = seen.at(-1);
        assert.equal(last?.bytes.done, last?.bytes.total);
        const [state] = scene.images.mirrors();
        const isDown = fault === 'a part';
        assert.equal(state?.mirror, scene.mirror.origin);
        assert.deepEqual([state?.state, state?.failures], isDown ? ['open', 1] : ['closed', 0]);
        assert.equal(state?.lastError !== undefined, isDown);
        assert.deepEqual(scene.plain.mirrors(), []);
      });
    }
  }
});

test('a call that requires credentials of the client asks the registry', async () => {
  await using scene = await start({});
  const image = imageRequest(`${scene.registry.host}/team/app:1`, POLICY);
  const call = { signal: NEVER, requiresClient: true };
  const resolved = await scene.images.resolve(archiveRequest([image]), call);
  resolved.release();
  const choice = { type: undefined, platform: undefined };
  const { content } = await scene.images.manifest(image, choice, { ...call, client: undefined });
  content.release();
  assert.deepEqual(scene.mirror.requests, []);
  assert.equal(scene.registry.countRequests(/manifests/), 2);
});
