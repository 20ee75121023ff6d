import { PassthroughError } from '../../errors.ts';
import type { PassedSocket } from '../../http/listeners/listeners.ts';
import { quoted } from '../../util/printable.ts';

/** The first passed descriptor: those before it are standard input, output and error. */
const FIRST_FD = 3;

/** Most sockets that one process can be passed: `NOFILE` of systemd's own units. */
const MAX_SOCKETS = 1024;

/** The name of sockets that speak TLS: `FileDescriptorName=https` in their unit. */
const TLS_NAME = 'https';

/**
 * The sockets that systemd has passed to this process, or another program that does as systemd: `LISTEN_FDS` of them from descriptor 3
 * on, with the names in `LISTEN_FDNAMES`. Those of another process, which `LISTEN_PID` names, do not count.
 *
 * The variables are removed from the environment: programs that the service starts have no sockets.
 *
 * @param environment `process.env`
 * @throws PassthroughError `INVALID_CONFIGURATION` for a number that is none
 * @see https://www.freedesktop.org/software/systemd/man/latest/sd_listen_fds.html
 */
export function passedSockets(environment: NodeJS.ProcessEnv, pid: number): readonly PassedSocket[] {
  const { LISTEN_PID, LISTEN_FDS, LISTEN_FDNAMES = '' } = environment;
  for (const name of ['LISTEN_PID', 'LISTEN_FDS', 'LISTEN_FDNAMES', 'LISTEN_PIDFDID'])
    delete environment[name];
  if (LISTEN_PID !== String(pid) || LISTEN_FDS === undefined) return [];
  const count = /^\d{1,4}$/.test(LISTEN_FDS) ? Number(LISTEN_FDS) : Number.NaN;
  if (!(count <= MAX_SOCKETS)) {
    const why = `expected a number from 0 to ${MAX_SOCKETS}`;
    throw new PassthroughError(
      'INVALID_CONFIGURATION',
      `Cannot use LISTEN_FDS=${quoted(LISTEN_FDS)}: ${why}`,
    );
  }
  const names = LISTEN_FDNAMES.split(':');
  return Array.from({ length: count }, (_, at) => ({ fd: FIRST_FD + at, isTls: names[at] === TLS_NAME }));
}

/**
 * Checks passed sockets against the settings.
 *
 * @param hasTls whether a certificate is configured
 * @throws PassthroughError `INVALID_CONFIGURATION` for a socket that needs a certificate, and for a certificate that no socket uses:
 *   its operator wants TLS, and would have plain http
 */
export function checkPassedSockets(sockets: readonly PassedSocket[], hasTls: boolean): void {
  if (sockets.length === 0) return;
  const isTlsPassed = sockets.some(({ isTls }) => isTls);
  if (isTlsPassed === hasTls) return;
  throw new PassthroughError(
    'INVALID_CONFIGURATION',
    isTlsPassed
      ? 'Cannot use the passed socket https: it needs TLS_CERT_FILE and TLS_KEY_FILE'
      : 'Cannot use TLS_CERT_FILE: no passed socket has the name https; its unit needs FileDescriptorName=https',
  );
}
