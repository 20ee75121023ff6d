import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { PassthroughError } from '../../errors.ts';
import { quoted } from '../../util/printable.ts';
import { systemErrorCode } from '../../util/system-error.ts';
import { DOCKER_HUB, type RegistryHost } from '../registry-host.ts';
import { type AuthFile, type Fail, parseAuthFile, parseEntry } from './auth-content.ts';
import { askHelper } from './credential-helper.ts';
import type { FileCredentials, FoundCredentials } from './credentials.ts';

/** Environment variables, or those of a test. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** A file to look into. */
export interface AuthFilePath {
  readonly path: string;
  /** Whether the file may be missing: one that is named must be there. */
  readonly isOptional: boolean;
}

/** Where {@link authFilePaths} looks. */
export interface AuthFilePlaces {
  /** File that the user names; no other is then read. */
  readonly authFile?: string | undefined;
  /** `REGISTRY_AUTH_FILE`, `XDG_RUNTIME_DIR`, `XDG_CONFIG_HOME` and `DOCKER_CONFIG` are read. */
  readonly environment: Environment;
  /** Home folder of the user; `undefined` if there is none. */
  readonly home: string | undefined;
}

/** How credentials are looked up. */
export interface LookupOptions {
  readonly files: readonly AuthFilePath[];
  /** Of helper programs. */
  readonly environment: Environment;
  readonly signal: AbortSignal;
  /**
   * Whether an entry also serves the registry over plain http if it names neither http nor a port. Only where the user chooses the
   * scheme: a client of the service could else move a host from https to http.
   */
  readonly allowsPlainHttp?: boolean | undefined;
}

/** Most bytes of an auth file: hundreds of entries with the tokens of clouds. */
export const MAX_AUTH_FILE_BYTES = 1024 * 1024;

/** Address under which helper programs know Docker Hub. */
const DOCKER_HUB_SERVER = 'https://index.docker.io/v1/';

/**
 * The files that hold the state of `docker login` and `podman login`, in the order of containers/image: a named file alone, or
 * podman's two places and then Docker's.
 *
 * @see https://github.com/containers/image/blob/main/docs/containers-auth.json.5.md
 */
export function authFilePaths({ authFile, environment, home }: AuthFilePlaces): readonly AuthFilePath[] {
  const variable = (name: string) => environment[name] || undefined;
  const named = authFile ?? variable('REGISTRY_AUTH_FILE');
  if (named !== undefined) return [{ path: named, isOptional: false }];
  const below = (folder: string | undefined, ...names: readonly string[]) =>
    folder === undefined ? [] : [{ path: join(folder, ...names), isOptional: true }];
  const inHome = (name: string) => (home === undefined ? undefined : join(home, name));
  return [
    ...below(variable('XDG_RUNTIME_DIR'), 'containers', 'auth.json'),
    ...below(variable('XDG_CONFIG_HOME') ?? inHome('.config'), 'containers', 'auth.json'),
    ...below(variable('DOCKER_CONFIG') ?? inHome('.docker'), 'config.json'),
  ];
}

/**
 * Looks up the credentials of a repository: those of the first file that has some for it. In a file the helper of `credHelpers`
 * comes first, then `credsStore`, then `auths`, where the longest path of a repository decides.
 *
 * @param repository name in the registry, such as `library/nginx`
 * @returns `undefined` if no file has credentials for it
 * @throws PassthroughError `INVALID_CONFIGURATION` for a file that cannot be read or parsed, and for a helper program that fails;
 *   `ABORTED`. No message quotes what a file holds
 */
export async function credentialsFor(
  host: RegistryHost,
  repository: string,
  options: LookupOptions,
): Promise<FileCredentials | undefined> {
  for (const place of options.files) {
    const file = await readAuthFile(place);
    const fail: Fail = (why) => invalid(place.path, why);
    const found = file && (await lookUp(file, host, repository, { ...options, fail }));
    if (found !== undefined) return found.credentials;
  }
  return undefined;
}

/** How {@link lookUp} finds credentials. */
export interface FileLookup extends Pick<LookupOptions, 'environment' | 'signal' | 'allowsPlainHttp'> {
  /** Makes the error for a fault of the file. */
  readonly fail: (why: string) => Error;
  /** Whether the file serves only registries that it lists, so that a store is asked for no other. */
  readonly isListOnly?: boolean | undefined;
  /** Runs a helper program. Default: {@link askHelper}. */
  readonly ask?: typeof askHelper | undefined;
}

/**
 * Looks up the credentials of a repository in one file: see {@link credentialsFor}.
 *
 * @throws what `fail` makes; PassthroughError `INVALID_CONFIGURATION` for a helper program that fails, `ABORTED`
 */
export async function lookUp(
  file: AuthFile,
  host: RegistryHost,
  repository: string,
  options: FileLookup,
): Promise<FoundCredentials | undefined> {
  const { fail, ask = askHelper } = options;
  const { helper, keys, isListed } = placesIn(file, host, repository, options);
  if (helper !== undefined) {
    const answer = await ask(helper, serverOf(host), options);
    if (answer !== 'missing') {
      if (answer !== undefined) return { credentials: answer, source: 'helper' };
    } else if (isListed) {
      // A store serves all registries. Where nothing says that it has credentials for this one, the pull goes on without: files
      // are copied to machines that lack the program.
      throw fail(
        `it names credential helper ${quoted(helper)}, and no program ${quoted(`docker-credential-${helper}`)} is found`,
      );
    }
  }
  for (const key of keys) {
    const credentials = parseEntry(file.auths.entries.get(key), (why) => fail(`entry ${quoted(key)} ${why}`));
    if (credentials !== undefined) return { credentials, source: 'file' };
  }
  return undefined;
}

/** Where a file may have the credentials of a repository. */
interface Places {
  /** Helper program, which comes first. */
  readonly helper: string | undefined;
  /** Keys of `auths`, of which the first that has credentials counts. */
  readonly keys: readonly string[];
  readonly isListed: boolean;
}

function placesIn(
  { auths, helpers, store }: AuthFile,
  host: RegistryHost,
  repository: string | undefined,
  options: Pick<FileLookup, 'allowsPlainHttp' | 'isListOnly'>,
): Places {
  const [helperKey] = helpers.matching(host, repository, options);
  const keys = auths.matching(host, repository, options);
  const isListed = helperKey !== undefined || keys.length > 0;
  if (options.isListOnly === true && !isListed) return { helper: undefined, keys, isListed };
  const helper = helperKey === undefined ? store : helpers.entries.get(helperKey);
  return { helper: typeof helper === 'string' && helper !== '' ? helper : undefined, keys, isListed };
}

/** A place that has the credentials of a repository, or may have them. */
export type FilePlace =
  | { readonly type: 'file'; readonly path: string; readonly entry: string }
  /** Only the program knows whether it has some. */
  | { readonly type: 'helper'; readonly path: string; readonly program: string };

/**
 * The places where {@link lookUp} looks in a file, in their order. No helper program is run.
 *
 * @param path of the file
 * @param repository `undefined` for any repository of the registry
 * @throws what `fail` makes
 */
export function filePlaces(
  file: AuthFile,
  path: string,
  host: RegistryHost,
  repository: string | undefined,
  options: Pick<FileLookup, 'allowsPlainHttp' | 'isListOnly' | 'fail'>,
): readonly FilePlace[] {
  const { helper, keys } = placesIn(file, host, repository, options);
  const entry = keys.find(
    (key) =>
      parseEntry(file.auths.entries.get(key), (why) => options.fail(`entry ${quoted(key)} ${why}`)) !==
      undefined,
  );
  return [
    ...(helper === undefined
      ? []
      : [{ type: 'helper', path, program: `docker-credential-${helper}` } as const]),
    ...(entry === undefined ? [] : [{ type: 'file', path, entry } as const]),
  ];
}

/**
 * The places where {@link credentialsFor} looks, in their order, up to the first that surely has credentials.
 *
 * @throws PassthroughError `INVALID_CONFIGURATION`
 */
export async function placesFor(
  host: RegistryHost,
  repository: string,
  { files, allowsPlainHttp }: Pick<LookupOptions, 'files' | 'allowsPlainHttp'>,
): Promise<readonly FilePlace[]> {
  const places: FilePlace[] = [];
  for (const { path, isOptional } of files) {
    const file = await readAuthFile({ path, isOptional });
    const fail: Fail = (why) => invalid(path, why);
    if (file !== undefined)
      places.push(...filePlaces(file, path, host, repository, { allowsPlainHttp, fail }));
    if (places.at(-1)?.type === 'file') return places;
  }
  return places;
}

/** Address of a registry for helper programs: that under which `docker login` stores it. */
export function serverOf({ origin }: RegistryHost): string {
  return origin === DOCKER_HUB.origin ? DOCKER_HUB_SERVER : new URL(origin).host;
}

/** @returns `undefined` for an optional file that is not there */
async function readAuthFile({ path, isOptional }: AuthFilePath): Promise<AuthFile | undefined> {
  let text: string;
  try {
    text = await readText(path);
  } catch (error) {
    if (error instanceof PassthroughError) throw error;
    const code = systemErrorCode(error);
    const isMissing = code === 'ENOENT' || code === 'ENOTDIR';
    if (isOptional && isMissing) return undefined;
    throw invalid(path, isMissing ? 'it does not exist' : `it cannot be read (${code ?? 'unknown'})`, error);
  }
  // An empty file is what "touch" and an unmounted secret leave.
  return text.trim() === '' ? undefined : parseAuthFile(text, (why) => invalid(path, why));
}

/** Reads a file of any kind, also a pipe, up to the limit. */
async function readText(path: string): Promise<string> {
  await using file = await open(path);
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of file.createReadStream({ autoClose: false }) as AsyncIterable<Buffer>) {
    chunks.push(chunk);
    size += chunk.byteLength;
    if (size > MAX_AUTH_FILE_BYTES) throw invalid(path, `it has more than ${MAX_AUTH_FILE_BYTES} bytes`);
  }
  return Buffer.concat(chunks, size).toString('utf8');
}

function invalid(path: string, reason: string, cause?: unknown): PassthroughError {
  return new PassthroughError('INVALID_CONFIGURATION', `Cannot use auth file ${quoted(path)}: ${reason}`, {
    ...(cause !== undefined && { cause }),
  });
}
