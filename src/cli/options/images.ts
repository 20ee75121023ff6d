import { isPassthroughError, PassthroughError } from '../../errors.ts';
import { type Call, ImageService } from '../../pull/image-service.ts';
import type { ImageServiceOptions } from '../../pull/options.ts';
import { type ImageRequest, imageRequest } from '../../pull/request.ts';
import type { CommandCall } from '../command.ts';
import { checkCredentials, readCredentials } from './credentials.ts';
import { misuse, type ParsedOptions } from './parse.ts';
import { type CommandSettings, loadSettings } from './settings.ts';

/** Images at their registries, as a command line names them. */
export interface NamedImages {
  readonly images: readonly ImageRequest[];
  readonly settings: CommandSettings;
}

/**
 * Reads references, with the registry options.
 *
 * @param texts may begin with `docker://`
 * @throws PassthroughError `INVALID_CONFIGURATION`, `INVALID_REFERENCE`, `INVALID_REGISTRY`, `REGISTRY_NOT_ALLOWED`
 */
export function readImages(texts: readonly string[], { options, environment }: CommandCall): NamedImages {
  checkRegistryOptions(options);
  const settings = loadSettings(environment);
  const scheme = options.text('scheme');
  const images = texts.map((text) =>
    imageRequest(text.replace(/^docker:\/\//, ''), settings.registry, scheme),
  );
  const registries = new Set(images.map(({ host }) => host.origin));
  if (options.has('user') && registries.size > 1) {
    throw misuse(
      `Cannot use --user: the images lie at ${registries.size} registries, and it belongs to one`,
      'Sign in with docker login to each registry',
    );
  }
  return { images, settings };
}

/** @throws PassthroughError `INVALID_CONFIGURATION` for options that do not fit together */
export function checkRegistryOptions(options: ParsedOptions): void {
  checkCredentials(options);
  if (options.has('cert') !== options.has('key')) {
    const [there, missing] = options.has('cert') ? ['cert', 'key'] : ['key', 'cert'];
    throw misuse(`Cannot use --${there}: --${missing} is missing`, 'A client certificate takes both');
  }
}

/** A service for one command, and what its calls take. */
export interface OpenedImages extends AsyncDisposable {
  readonly service: ImageService;
  readonly call: Call;
}

/**
 * Opens the service for a command.
 *
 * @param cacheDirectory folder of its store; a temporary one unless given
 * @throws PassthroughError `INVALID_CONFIGURATION`
 */
export async function openImages(
  { settings }: NamedImages,
  { options }: CommandCall,
  signal: AbortSignal,
  cacheDirectory?: string,
): Promise<OpenedImages> {
  const credentials = await readCredentials(options);
  const { registry } = settings;
  const serviceOptions: ImageServiceOptions = {
    ...settings,
    registry: {
      ...registry,
      // The command line wins over the environment.
      ...(credentials !== undefined && {
        credentials: { ...registry.credentials, bearerToken: undefined, basic: undefined },
      }),
    },
    cache: { directory: cacheDirectory },
  };
  const service = await open(serviceOptions, cacheDirectory);
  return { service, call: { signal, credentials }, [Symbol.asyncDispose]: () => service.close() };
}

async function open(options: ImageServiceOptions, cacheDirectory: string | undefined): Promise<ImageService> {
  try {
    return await ImageService.open(options);
  } catch (error) {
    if (!isPassthroughError(error, 'INVALID_CONFIGURATION') || error.details.folder === undefined)
      throw error;
    const { folder, reason } = error.details;
    const name = cacheDirectory === undefined ? 'WORKSPACE_DIR' : '--cache';
    throw new PassthroughError(
      'INVALID_CONFIGURATION',
      `Cannot use ${name}=${JSON.stringify(folder)}: ${reason}`,
      {
        cause: error,
      },
    );
  }
}
