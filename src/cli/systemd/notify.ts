import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type { Logger } from '../../telemetry/log.ts';
import { printable } from '../../util/printable.ts';
import { systemErrorCode } from '../../util/system-error.ts';

/** Names the socket of the service manager. */
const SOCKET = 'NOTIFY_SOCKET';

/** Sends one message to the service manager. Node.js has no datagram sockets of the file system. */
const PROGRAM = 'systemd-notify';

/** Longest run of {@link PROGRAM}, in milliseconds. It waits until the manager has read the message, and then ends. */
const TIMEOUT_MS = 5_000;

/** Where programs of systemd are, if `PATH` is unset. */
const DEFAULT_PATH = '/usr/local/bin:/usr/bin:/bin';

/** Tells the service manager about this service. */
export interface Notifier {
  /** Sends assignments such as `READY=1`. A failure is a line in the log. */
  notify(...assignments: readonly string[]): Promise<void>;
}

/**
 * A notifier for the manager that listens on `NOTIFY_SOCKET`; without it, one that does nothing. The variable is removed from the
 * environment: programs that the service starts have nothing to say.
 *
 * The message comes from a child of this process, so the unit needs `NotifyAccess=all`.
 *
 * @param environment `process.env`
 * @see https://www.freedesktop.org/software/systemd/man/latest/systemd-notify.html
 */
export function openNotifier(environment: NodeJS.ProcessEnv, logger: Logger): Notifier {
  const { [SOCKET]: socket = '', PATH = DEFAULT_PATH } = environment;
  delete environment[SOCKET];
  if (socket === '') return { notify: async () => undefined };
  return {
    notify: async (...assignments) => {
      try {
        await promisify(execFile)(PROGRAM, assignments, {
          env: { [SOCKET]: socket, PATH },
          timeout: TIMEOUT_MS,
        });
      } catch (error) {
        const why =
          systemErrorCode(error) ??
          printable((error instanceof Error ? error.message : String(error)).trim());
        logger.log('warn', 'notify', {
          message: `Cannot tell the service manager ${assignments[0]}: ${PROGRAM} fails (${why}). A unit without it needs Type=exec`,
        });
      }
    },
  };
}
