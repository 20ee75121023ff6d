import type { Config } from '../config/config.ts';
import { VARIABLES } from '../config/variables.ts';
import { isPassthroughError, PassthroughError } from '../errors.ts';
import { quoted } from '../util/printable.ts';
import { systemErrorCode } from '../util/system-error.ts';

/** Longest folder in an error, in characters: twice that of a path. */
const MAX_FOLDER_LENGTH = 8192;

/** Why the service cannot listen, by the code of the system's error. */
const LISTEN_ERRORS: ReadonlyMap<string | undefined, string> = new Map([
  ['EADDRINUSE', 'the port is in use'],
  ['EADDRNOTAVAIL', 'the host is not an address of this machine'],
  ['EACCES', 'the process has no permission to use the port'],
  ['EAFNOSUPPORT', 'this machine has no network of this address family'],
  // The only address that Linux calls invalid: it does not say which interface is meant.
  ['EINVAL', 'a link-local address needs its interface, such as fe80::1%eth0'],
  ['ENOTFOUND', 'the host name is unknown'],
  ['EAI_AGAIN', 'the name server does not answer'],
]);

/**
 * Names the variables behind a failed start.
 *
 * @param error what opening or starting the service has thrown
 * @returns PassthroughError `INVALID_CONFIGURATION` with variables, values and reason when a folder cannot be used, or the service
 *   cannot listen on the configured address, or a key cannot be used; any other error as it is
 */
export function startError(
  error: unknown,
  { http, cache, listener }: Pick<Config, 'http' | 'cache' | 'listener'>,
): unknown {
  if (isPassthroughError(error, 'INVALID_CONFIGURATION') && error.details.folder !== undefined) {
    const { folder, reason } = error.details;
    const variable = cache.directory === undefined ? VARIABLES.workspaceDirectory : VARIABLES.cacheDirectory;
    return new PassthroughError(
      'INVALID_CONFIGURATION',
      `Cannot use ${variable}=${quoted(folder, MAX_FOLDER_LENGTH)}: ${reason}`,
      { cause: error },
    );
  }
  if (isPassthroughError(error, 'INVALID_CONFIGURATION') && error.details.setting === 'signatureKeys') {
    const message = error.message.replace(/^Cannot use key /, `Cannot use ${VARIABLES.signatureKeys}: key `);
    return new PassthroughError('INVALID_CONFIGURATION', message, { cause: error });
  }
  const port =
    portOf(error) === listener.httpsPort && listener.httpsPort !== http.port
      ? `${VARIABLES.httpsPort}=${listener.httpsPort}`
      : `${VARIABLES.port}=${http.port}`;
  return listenError(error, `${VARIABLES.host}=${quoted(http.host)} ${port}`);
}

/**
 * Says why a server cannot listen.
 *
 * @param error what starting the server has thrown
 * @param address as the user has given it
 * @returns PassthroughError `INVALID_CONFIGURATION`; any other error as it is
 */
export function listenError(error: unknown, address: string): unknown {
  const code = systemErrorCode(error);
  const why = isListenError(error) ? LISTEN_ERRORS.get(code) : undefined;
  if (why === undefined) return error;
  return new PassthroughError('INVALID_CONFIGURATION', `Cannot listen on ${address}: ${why} (${code})`, {
    cause: error,
  });
}

/** The port that could not be listened on. */
function portOf(error: unknown): unknown {
  return error instanceof Error && 'port' in error ? error.port : undefined;
}

/** Files have some of the codes, too. `getaddrinfo` resolves a host name before `listen`. */
function isListenError(error: unknown): boolean {
  return (
    error instanceof Error &&
    'syscall' in error &&
    (error.syscall === 'listen' || error.syscall === 'getaddrinfo')
  );
}
