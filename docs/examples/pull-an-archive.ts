/**
 * Pulls an image to a file, as the service would answer it:
 *
 *     node docs/examples/pull-an-archive.ts localhost:5000/team/app:1 app.tar
 */

import { rename, rm, writeFile } from 'node:fs/promises';
import { ImageService } from '../../src/pull/image-service.ts';
import { archiveRequest, imageRequest } from '../../src/pull/request.ts';
import { DOCKER_HUB } from '../../src/registry/registry-host.ts';

const [reference = 'alpine:latest', destination = 'image.tar'] = process.argv.slice(2);
const signal = AbortSignal.timeout(600_000);

/** Docker Hub is the registry of references without a host; any other registry is allowed. */
const policy = { defaultHost: DOCKER_HUB, defaultNamespace: '', allowedHosts: undefined, plainHttpHosts: [] };

const images = await ImageService.open();
try {
  const request = archiveRequest([imageRequest(reference, policy)], { layout: 'docker' });
  const resolved = await images.resolve(request, { signal });
  const archive = await images.pull(resolved, { signal });
  // A partial file never has the final name.
  const partial = `${destination}.partial`;
  try {
    await writeFile(partial, archive.bytes());
    await rename(partial, destination);
  } finally {
    archive.close();
    resolved.release();
    await rm(partial, { force: true });
  }
  process.stdout.write(`${reference}: ${archive.size} bytes, ${resolved.images[0]?.manifest.digest}\n`);
} finally {
  await images.close();
}
