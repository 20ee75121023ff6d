import { readdir } from 'node:fs/promises';
import type { Logger } from '../../telemetry/log.ts';
import { openFileLimit } from '../../util/open-file-limit.ts';
import { systemErrorCode } from '../../util/system-error.ts';

/** Milliseconds between a connection and the check that it causes, so that a burst of connections causes one check. */
const DELAY_MS = 250;

/** Share of the limit from which on a shortage is reported: what is left goes to files of the downloads under way. */
const SHORTAGE = 0.95;

const MESSAGE =
  'Nearly all file descriptors of the process are in use. New connections get 503, and no answer when none is left';

/**
 * Reports a shortage of file descriptors. When none is left, the system accepts a connection and closes it at once, and no event
 * reaches the program (libuv, `uv__emfile_trick`), so the number of open descriptors is looked at instead.
 */
export class DescriptorWatch {
  readonly #logger: Logger;
  #timer: NodeJS.Timeout | undefined;
  #isShort = false;

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  /** Whether nearly all were in use at the last look. */
  get isShort(): boolean {
    return this.#isShort;
  }

  /** Schedules a look after a new connection. */
  check(): void {
    this.#timer ??= setTimeout(() => void this.#look(), DELAY_MS).unref();
  }

  async #look(): Promise<void> {
    this.#timer = undefined;
    const limit = openFileLimit();
    const open = await countOpen(limit);
    const isShort = open >= limit * SHORTAGE;
    // One line for each shortage, not for each connection in it.
    if (isShort && !this.#isShort) this.#logger.log('warn', 'descriptors', { open, limit, message: MESSAGE });
    this.#isShort = isShort;
    // Nothing else tells when the shortage is over.
    if (isShort) this.check();
  }
}

/** Descriptors that are not for connections of clients: 256 stored files, and what goes to registries. */
const RESERVED = 384;

/** From this limit on, {@link RESERVED} leaves enough. With less, clients and files compete. */
const LEAST_LIMIT = 512;

/** With this limit, which systems commonly set, the default number of connections is lowered without a warning. */
const COMMON_LIMIT = 1024;

/**
 * The number of connections that the limit of open files leaves room for.
 *
 * @param wanted the configured number
 */
export function affordableConnections(wanted: number, limit: number = openFileLimit()): number {
  return limit < LEAST_LIMIT ? wanted : Math.min(wanted, limit - RESERVED);
}

/**
 * Says at the start when the limit of open files does not allow what is configured.
 *
 * @param wanted the configured number of connections
 * @param isDefault whether it is the default, which need not be reached
 * @returns a line for the log
 */
export function descriptorWarning(
  wanted: number,
  isDefault: boolean,
  limit: number = openFileLimit(),
): string | undefined {
  const most = affordableConnections(wanted, limit);
  const isEnough = isDefault ? limit >= COMMON_LIMIT : most === wanted && limit >= LEAST_LIMIT;
  if (isEnough) return undefined;
  return (
    `The process can have ${limit} files open, which is too few for ${wanted} connections and the stored files` +
    `${most < wanted ? `; at most ${most} connections are taken` : ''}. Raise the limit (ulimit -n, LimitNOFILE) or lower MAX_CONNECTIONS`
  );
}

/** Number of open descriptors; the limit if not even the list of them can be opened, 0 if the system has no such list. */
async function countOpen(limit: number): Promise<number> {
  try {
    return (await readdir('/proc/self/fd')).length;
  } catch (error) {
    return ['EMFILE', 'ENFILE'].includes(systemErrorCode(error) ?? '') ? limit : 0;
  }
}
