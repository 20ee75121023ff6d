import { readdir, readFile } from 'node:fs/promises';
import type { Logger } from '../../telemetry/log.ts';
import { systemErrorCode } from '../../util/system-error.ts';

/** Milliseconds between a connection and the check that it causes, so that a burst of connections causes one check. */
const DELAY_MS = 250;

/** Share of the limit from which on a shortage is reported: what is left goes to files of the downloads under way. */
const SHORTAGE = 0.95;

const MESSAGE =
  'Nearly all file descriptors of the process are in use. New connections are closed without an answer when none is left';

/**
 * Reports a shortage of file descriptors. When none is left, the system accepts a connection and closes it at once, and no event
 * reaches the program (libuv, `uv__emfile_trick`), so the number of open descriptors is looked at instead.
 */
export class DescriptorWatch {
  readonly #logger: Logger;
  /** Read at the start: reading takes a descriptor. */
  readonly #limit: Promise<number>;
  #timer: NodeJS.Timeout | undefined;
  #isShort = false;

  constructor(logger: Logger) {
    this.#logger = logger;
    this.#limit = readLimit();
  }

  /** Schedules a look after a new connection. */
  check(): void {
    this.#timer ??= setTimeout(() => void this.#look(), DELAY_MS).unref();
  }

  async #look(): Promise<void> {
    this.#timer = undefined;
    const limit = await this.#limit;
    const open = await countOpen(limit);
    const isShort = open >= limit * SHORTAGE;
    // One line for each shortage, not for each connection in it.
    if (isShort && !this.#isShort) this.#logger.log('warn', 'descriptors', { open, limit, message: MESSAGE });
    this.#isShort = isShort;
  }
}

/** Number of open descriptors; the limit if not even the list of them can be opened, 0 if the system has no such list. */
async function countOpen(limit: number): Promise<number> {
  try {
    return (await readdir('/proc/self/fd')).length;
  } catch (error) {
    return ['EMFILE', 'ENFILE'].includes(systemErrorCode(error) ?? '') ? limit : 0;
  }
}

/** The soft limit of the process; `Infinity` if the system does not say. */
async function readLimit(): Promise<number> {
  const text = await readFile('/proc/self/limits', 'utf8').catch(() => '');
  const { limit } = /^Max open files\s+(?<limit>\d+)/m.exec(text)?.groups ?? {};
  return Number(limit ?? Number.POSITIVE_INFINITY);
}
