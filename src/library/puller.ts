import type { LayoutName } from '../archive/archive.ts';
import type { IoxSizing } from '../archive/iox/settings.ts';
import { PassthroughError } from '../errors.ts';
import { fieldsOf, type JsonFields } from '../image/json.ts';
import type { ManifestFacts } from '../pull/direct/manifest-facts.ts';
import type { ImageService } from '../pull/image-service.ts';
import type { Progress } from '../pull/progress.ts';
import { archiveRequest, updateOf } from '../pull/request.ts';
import type { ServedManifest } from '../pull/resolve-manifest.ts';
import { type PulledBlob, pullBlobs } from './pull-blobs.ts';
import { type PullerOptions, type PullerSettings, pullerSettings } from './puller-options.ts';
import { SharedService } from './shared-service.ts';

/** What belongs to one call of a {@link Puller}. */
export interface PullerCall {
  /** Stops the call, which then rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

/** A call of {@link Puller} that fetches layers. */
export interface PullerProgressCall extends PullerCall {
  /** Receives how far the call is, after each piece. */
  readonly onProgress?: ((progress: Progress) => void) | undefined;
}

/** A call of {@link Puller} that makes an archive. */
export interface PullTarCall extends PullerProgressCall {
  /** Default: `docker`, which every engine and tool loads. */
  readonly layout?: LayoutName | undefined;
  /**
   * Leaves out the layers that this image has, for those who have loaded it: a tag or a digest of the same repository, or a reference
   * in the same registry.
   */
  readonly since?: string | undefined;
  /** For layout `iox`: what the application gets of its device, in place of what the image says. */
  readonly sizing?: IoxSizing | undefined;
}

/** A file that an image was pulled to. */
export interface PulledTar {
  /** Absolute path of the file, with symbolic links resolved. */
  readonly path: string;
  /** Bytes. */
  readonly size: number;
  /** Digest of the image's manifest. */
  readonly digest: string;
}

/** A manifest as the registry has it; its digest is verified. */
export interface PulledManifest extends ManifestFacts {
  /** `list` for a manifest list or index, `image` for the manifest of one image. */
  readonly type: 'list' | 'image';
  readonly bytes: Uint8Array;
  /** The parsed bytes. */
  readonly content: JsonFields;
}

/**
 * Pulls one image: as a tar file, or its manifests and blobs.
 *
 *     const puller = new Puller({ url: 'docker.io/hello-world:latest' });
 *     await puller.pullTar('./hello-world.tar');
 *
 * Calls can run at the same time. The first one opens connections and a temporary folder, and the last one that ends closes both, so
 * that nothing is left behind, and nothing keeps the process alive.
 */
export class Puller implements AsyncDisposable {
  readonly #options: PullerOptions;
  readonly #settings: PullerSettings;
  readonly #closing = new AbortController();
  readonly #service: SharedService;

  /** @throws PassthroughError `INVALID_REFERENCE`, `INVALID_REGISTRY`, `INVALID_PLATFORM`, `INVALID_CONFIGURATION` */
  constructor(options: PullerOptions) {
    this.#settings = pullerSettings(options);
    const { os, architecture, variant } = this.#settings.platform;
    const arch = variant === undefined ? architecture : `${architecture}/${variant}`;
    const { scheme = 'https', insecure = false } = options;
    this.#options = Object.freeze({ ...options, scheme, os, arch, insecure });
    this.#service = new SharedService(this.#settings.service);
  }

  /** The reference of the image, as it was given. */
  get url(): string {
    return this.#options.url;
  }

  /** The options, with the defaults filled in. */
  get options(): PullerOptions {
    return this.#options;
  }

  /**
   * Pulls the image to a tar file that `docker load` takes. The file has its name only when all its bytes are verified.
   *
   * @param destination path of the file; an existing file is replaced
   * @throws PassthroughError the reason why the image cannot be pulled, or the file not be written
   */
  pullTar(destination: string, call: PullTarCall = {}): Promise<PulledTar> {
    const { onProgress, signal } = call;
    return this.#run(signal, async (service, working) => {
      const request = this.#archive(call);
      const { path, size, resolved } = await service.pullTo(request, destination, {
        signal: working,
        onProgress,
      });
      return { path, size, digest: resolved.images[0]?.manifest.digest ?? '' };
    });
  }

  /**
   * The bytes of the tar file. They are verified before the first one is given.
   *
   * @throws PassthroughError as {@link pullTar}
   */
  async *bytes({
    layout,
    since,
    sizing,
    onProgress,
    signal,
  }: PullTarCall = {}): AsyncGenerator<Uint8Array, void, undefined> {
    await using lease = await this.#open(signal);
    const { service, working, release } = lease;
    // A reader that stops in the middle without telling must not hold up the end of the puller.
    this.#closing.signal.addEventListener('abort', () => void release(), { once: true });
    try {
      const request = this.#archive({ layout, since, sizing });
      const resolved = await service.resolve(request, { signal: working });
      using _ = { [Symbol.dispose]: () => resolved.release() };
      const archive = await service.pull(resolved, { signal: working, onProgress });
      try {
        for await (const chunk of archive.bytes()) {
          working.throwIfAborted();
          yield chunk;
        }
      } finally {
        archive.close();
      }
    } catch (error) {
      throw signal?.aborted === true ? signal.reason : error;
    }
  }

  /**
   * Fetches the manifest of the image for the platform, or the manifest list.
   *
   * @throws PassthroughError `PLATFORM_NOT_FOUND` when there is no image for the platform, and no list for a single-platform image
   */
  pullManifest(type: 'list' | 'image', { signal }: PullerCall = {}): Promise<PulledManifest> {
    const { image, platform, isPlatformAsked } = this.#settings;
    const choice =
      type === 'list'
        ? ({ type: 'index', platform: undefined } as const)
        : ({ type: 'image', platform: { platform, isPlatformAsked } } as const);
    if (type !== 'list' && type !== 'image') {
      throw new PassthroughError(
        'INVALID_CONFIGURATION',
        'Cannot pull manifest: expected type list or image',
      );
    }
    return this.#run(
      signal,
      async (service, working) =>
        await pulledManifest(await service.manifest(image, choice, { signal: working })),
    );
  }

  /**
   * Fetches the manifest that the registry has under the reference: a list, or the manifest of a single-platform image.
   *
   * @throws PassthroughError `IMAGE_NOT_FOUND` and other reasons of the registry
   */
  getManifest({ signal }: PullerCall = {}): Promise<PulledManifest> {
    const choice = { type: undefined, platform: undefined };
    return this.#run(
      signal,
      async (service, working) =>
        await pulledManifest(await service.manifest(this.#settings.image, choice, { signal: working })),
    );
  }

  /**
   * Asks for digest, media type and size of what {@link getManifest} fetches. They are what the registry says, and not verified.
   *
   * @throws PassthroughError as {@link getManifest}
   */
  headManifest({ signal }: PullerCall = {}): Promise<ManifestFacts> {
    return this.#run(signal, (service, working) =>
      service.headManifest(this.#settings.image, { signal: working }),
    );
  }

  /**
   * Pulls config and layers of a manifest into a folder, which is made if it is missing. Each file is named by the hex digits of
   * its digest. A file that is there is kept only if its digest is right.
   *
   * @param manifest of `pullManifest('image')`, or of `getManifest()` for a single-platform image
   * @returns config first, then the layers
   * @throws PassthroughError `UNSUPPORTED_IMAGE` for a manifest list, `VERIFICATION_FAILED`, and other reasons
   */
  pullBlobs(
    manifest: Pick<PulledManifest, 'bytes' | 'mediaType'>,
    folder: string,
    { signal, onProgress }: PullerProgressCall = {},
  ): Promise<readonly PulledBlob[]> {
    return this.#run(signal, (service, working) =>
      pullBlobs(manifest, folder, {
        open: (descriptor, either) => service.openBlob(this.#settings.image, descriptor, { signal: either }),
        signal: working,
        onProgress,
      }),
    );
  }

  /** Stops all calls, and waits for their end. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort(new PassthroughError('ABORTED', 'Cannot use the puller: it is closed'));
    await this.#service.idle();
  }

  #archive({ layout, since, sizing }: Pick<PullTarCall, 'layout' | 'since' | 'sizing'>) {
    const { image: whole, platform, isPlatformAsked } = this.#settings;
    const image = since === undefined ? whole : updateOf(whole, since);
    const request = archiveRequest([image], {
      platform,
      sizing,
      ...(layout !== undefined && { layout }),
    });
    return { ...request, isPlatformAsked };
  }

  async #run<T>(
    signal: AbortSignal | undefined,
    work: (service: ImageService, working: AbortSignal) => Promise<T>,
  ): Promise<T> {
    await using lease = await this.#open(signal);
    try {
      return await work(lease.service, lease.working);
    } catch (error) {
      throw signal?.aborted === true ? signal.reason : error;
    }
  }

  /** Takes a share of the service, for one call. */
  async #open(signal: AbortSignal | undefined) {
    signal?.throwIfAborted();
    this.#closing.signal.throwIfAborted();
    const { service, release } = await this.#service.acquire();
    const working = AbortSignal.any([this.#closing.signal, ...(signal === undefined ? [] : [signal])]);
    return { service, working, release, [Symbol.asyncDispose]: release };
  }
}

async function pulledManifest({
  digest,
  mediaType,
  content: served,
  isIndex,
}: ServedManifest): Promise<PulledManifest> {
  using _ = { [Symbol.dispose]: () => served.release() };
  const bytes = await served.readWhole();
  const content = fieldsOf(JSON.parse(Buffer.from(bytes).toString('utf8')));
  return { type: isIndex ? 'list' : 'image', digest, mediaType, size: bytes.byteLength, bytes, content };
}
