import { homedir } from 'node:os';
import { resolve } from 'node:path';
import { isPassthroughError, PassthroughError } from '../../errors.ts';
import { ImageService } from '../../pull/image-service.ts';
import type { ImageServiceOptions } from '../../pull/options.ts';
import { type Call, type ImageRequest, imageRequest } from '../../pull/request.ts';
import type { SignatureOptions } from '../../pull/signatures/verifier.ts';
import { authFilePaths, credentialsFor } from '../../registry/auth/auth-file.ts';
import type { ListedCredentials, StaticCredentials } from '../../registry/auth/credentials.ts';
import { mirrorsOf, repositoryAt } from '../../registry/mirrors/mirror-rules.ts';
import { CertificateFolders } from '../../registry/transport/certificate-folders.ts';
import type { RegistryTls } from '../../registry/transport/tls.ts';
import { quoted } from '../../util/printable.ts';
import type { CommandCall } from '../command.ts';
import { reportSignature } from '../output/signature-lines.ts';
import { checkCredentials, readCredentials, readOptionFile } from './credentials.ts';
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
  const keys = readKeys(options);
  // The other variables of signatures mean something with these keys, too.
  const ofKeys = keys === undefined ? {} : { SIGNATURE_KEYS: keys.join(',') };
  const settings = loadSettings({ ...environment, ...ofKeys });
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
  named: NamedImages,
  { options, environment }: CommandCall,
  signal: AbortSignal,
  cacheDirectory?: string,
): Promise<OpenedImages> {
  const { images, settings } = named;
  const credentials = await readCredentials(options);
  const fixed = settings.registry.credentials;
  // What the command line says wins over the environment.
  const ofOperator: StaticCredentials =
    credentials === undefined
      ? {
          ...fixed,
          listed: await readListed(images, settings, { options, environment, signal }),
          files: undefined,
        }
      : { ...fixed, bearerToken: undefined, basic: undefined, files: undefined };
  const serviceOptions: ImageServiceOptions = {
    ...settings,
    registry: {
      ...settings.registry,
      credentials: ofOperator,
      namespace: options.text('ns'),
      // The user of the command line owns the accounts.
      mirrorAccounts: 'all',
      tls: await readTls(options, settings.registry.tls),
    },
    signatures: readSignatures(options, settings),
    cache: { directory: cacheDirectory },
    onSignature: (report) => reportSignature(report, options.has('quiet')),
  };
  const service = await open(serviceOptions, cacheDirectory);
  return { service, call: { signal, credentials }, [Symbol.asyncDispose]: () => service.close() };
}

/** What {@link readListed} reads. */
interface ListedSource {
  readonly options: ParsedOptions;
  readonly environment: NodeJS.ProcessEnv;
  readonly signal: AbortSignal;
}

/**
 * Looks up the credentials that `docker login` and `podman login` have left for images, at their registries and at the mirrors of
 * these.
 *
 * @throws PassthroughError `INVALID_CONFIGURATION`
 */
export async function readListed(
  images: readonly ImageRequest[],
  { registry }: CommandSettings,
  { options, environment, signal }: ListedSource,
): Promise<readonly ListedCredentials[]> {
  const files = authFilePaths({ authFile: options.text('authfile'), environment, home: homedir() });
  const listed: ListedCredentials[] = [];
  const repositories = images.flatMap(({ host, reference, base = reference }) =>
    [...new Set([reference.repository, base.repository])].flatMap((repository) => [
      { host, repository },
      ...mirrorsOf(registry.mirrors ?? [], host).map((mirror) => ({
        host: mirror.host,
        repository: repositoryAt(mirror, repository),
      })),
    ]),
  );
  for (const { host, repository } of repositories) {
    // The user chooses the scheme, so that an entry may also serve plain http.
    const lookup = { files, environment, signal, allowsPlainHttp: true };
    const credentials = await credentialsFor(host, repository, lookup);
    if (credentials !== undefined) listed.push({ origin: host.origin, repository, credentials });
  }
  return listed;
}

/** Keys on the command line hold for all images, in place of what the environment says. */
function readSignatures(options: ParsedOptions, { signatures }: CommandSettings): SignatureOptions {
  const keys = readKeys(options);
  return keys === undefined ? signatures : { ...signatures, keys, requiredFor: ['*'], policy: 'enforce' };
}

/** The keys of `--verify-key`. @throws PassthroughError `INVALID_CONFIGURATION` if it names none */
function readKeys(options: ParsedOptions): readonly string[] | undefined {
  const keys = options
    .text('verify-key')
    ?.split(',')
    .filter((key) => key !== '');
  if (keys?.length === 0) throw misuse('Cannot use --verify-key: it names no file');
  return keys;
}

/** Folders in which podman and Docker look for the certificates of registries, in the order of containers/image. */
const CERTIFICATE_FOLDERS = ['.config/containers/certs.d', '/etc/containers/certs.d', '/etc/docker/certs.d'];

/**
 * Reads the certificates of options.
 *
 * @param configured by variables, which options overrule
 * @throws PassthroughError `INVALID_CONFIGURATION`
 */
export async function readTls(
  options: ParsedOptions,
  configured: CommandSettings['registry']['tls'],
): Promise<RegistryTls & { readonly folders: CertificateFolders }> {
  const file = async (name: string) => {
    const path = options.text(name);
    return path === undefined ? undefined : await readOptionFile(`--${name}`, path);
  };
  const [caCert, clientCert, clientKey] = [await file('cacert'), await file('cert'), await file('key')];
  const folder = options.text('cert-dir');
  const folders =
    folder === undefined
      ? (configured?.folders ??
        new CertificateFolders(
          CERTIFICATE_FOLDERS.map((path) => resolve(homedir(), path)),
          { name: 'the certificates of podman or Docker' },
        ))
      : new CertificateFolders([folder], { name: '--cert-dir', isForAll: true });
  if (folder !== undefined) await folders.check();
  return { ...configured, caCert, clientCert, clientKey, insecure: options.has('insecure'), folders };
}

async function open(options: ImageServiceOptions, cacheDirectory: string | undefined): Promise<ImageService> {
  try {
    return await ImageService.open(options);
  } catch (error) {
    if (!isPassthroughError(error, 'INVALID_CONFIGURATION') || error.details.folder === undefined)
      throw error;
    const { folder, reason } = error.details;
    const name = cacheDirectory === undefined ? 'WORKSPACE_DIR' : '--cache';
    throw new PassthroughError('INVALID_CONFIGURATION', `Cannot use ${name}=${quoted(folder)}: ${reason}`, {
      cause: error,
    });
  }
}
