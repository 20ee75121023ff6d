/** A service that takes signed images only, and a registry with one image. */

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ImageService } from '../../../src/pull/image-service.ts';
import type { ImageServiceOptions } from '../../../src/pull/options.ts';
import { type ArchiveRequest, archiveRequest, imageRequest } from '../../../src/pull/request.ts';
import type { SignatureOptions, SignatureReport } from '../../../src/pull/signatures/verifier.ts';
import { DOCKER_HUB } from '../../../src/registry/registry-host.ts';
import { type FakeRegistryOptions, startFakeRegistry } from '../../support/fake-registry.ts';
import type { Pushable } from '../../support/image.ts';
import { QUICK_RETRY, tamperedStore } from '../../support/service.ts';
import { SIGNED_IMAGE } from '../../support/signed-vector-image.ts';
import { NEVER } from '../pulling.ts';

const POLICY = { defaultHost: DOCKER_HUB, defaultNamespace: '', allowedHosts: undefined, plainHttpHosts: [] };

/** The repository of the image; its tag is `1`. */
export const REPOSITORY = 'team/app';

/** How a scene differs from the usual. */
export interface SceneOptions extends Omit<ImageServiceOptions, 'signatures' | 'registry'> {
  readonly signatures?: Partial<SignatureOptions>;
  readonly registry?: FakeRegistryOptions;
  /** The image; {@link SIGNED_IMAGE} unless given. */
  readonly image?: Pushable;
}

/** Starts a registry with an image, and a service. */
export async function startScene({
  registry: registryOptions,
  image = SIGNED_IMAGE,
  ...options
}: SceneOptions = {}) {
  await using stack = new AsyncDisposableStack();
  const registry = stack.use(await startFakeRegistry(registryOptions));
  registry.push(REPOSITORY, '1', image);
  const workspaceDirectory = await mkdtemp(join(tmpdir(), 'signatures-'));
  stack.defer(() => rm(workspaceDirectory, { recursive: true }));
  const reports: SignatureReport[] = [];
  const faults: string[] = [];
  const open = async () => {
    const { openStore, store } = tamperedStore();
    const service = await ImageService.open(
      {
        workspaceDirectory,
        onSignature: (report) => reports.push(report),
        onKeyFault: (message) => faults.push(message),
        ...options,
      },
      { retry: QUICK_RETRY, openStore },
    );
    return { service, store: await store };
  };
  let opened = await open();
  stack.defer(() => opened.service.close());
  const named = (reference = `${REPOSITORY}:1`) => imageRequest(`${registry.host}/${reference}`, POLICY);
  const all = stack.move();
  return {
    registry,
    reports,
    faults,
    named,
    get images() {
      return opened.service;
    },
    /** Closes the service and opens another one, as a restart does. */
    restart: async () => {
      await opened.store.settled();
      await opened.service.close();
      opened = await open();
    },
    /** Resolves the image, and returns the digest that would be served. */
    resolve: async (given: Partial<ArchiveRequest> = {}, reference?: string) => {
      const request = archiveRequest([named(reference)], given);
      const resolved = await opened.service.resolve(request, { signal: NEVER });
      resolved.release();
      return resolved.images[0]?.manifest.digest;
    },
    [Symbol.asyncDispose]: () => all.disposeAsync(),
  };
}
