import { clearScreenDown, cursorTo, moveCursor } from 'node:readline';
import { styleText } from 'node:util';
import type { Progress } from '../../pull/progress.ts';
import { Rate } from '../../util/progress/rate.ts';
import { formatBytes } from '../../util/text/format-bytes.ts';
import { drawBars } from './bars.ts';

/** Shows how far a pull is, on standard error. */
export interface ProgressReporter {
  /** Takes the current state. */
  update(progress: Progress): void;
  /** Ends the display, so that other text can follow. */
  stop(): void;
}

/** Milliseconds between two drawings: more often is not seen. */
const REDRAW_MS = 100;

/** Milliseconds between two lines where there is no terminal: a log stays short, and shows that the pull goes on. */
const LINE_MS = 30_000;

/** Columns of a terminal that does not tell its width. */
const USUAL_COLUMNS = 80;

/**
 * Chooses the display: bars on a terminal that can move its cursor, else a line now and then.
 *
 * @param subject what is pulled, for the first line
 * @param terminal `TERM`
 */
export function openReporter(subject: string, terminal: string | undefined): ProgressReporter {
  const stream = process.stderr;
  return stream.isTTY === true && terminal !== 'dumb' ? new Bars(stream) : new Lines(stream, subject);
}

/** The display for `--quiet`. */
export const SILENT: ProgressReporter = { update: () => undefined, stop: () => undefined };

class Bars implements ProgressReporter {
  readonly #stream: typeof process.stderr;
  readonly #rate = new Rate();
  readonly #timer: NodeJS.Timeout;
  #progress: Progress | undefined;
  /** Lines on the screen that the next drawing replaces. */
  #drawn = 0;

  constructor(stream: typeof process.stderr) {
    this.#stream = stream;
    this.#timer = setInterval(() => this.#draw(), REDRAW_MS);
    this.#timer.unref();
  }

  update(progress: Progress): void {
    const isFirst = this.#progress === undefined;
    this.#progress = progress;
    if (isFirst) this.#draw();
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#draw();
    this.#erase();
  }

  #draw(): void {
    if (this.#progress === undefined) return;
    this.#rate.add(performance.now(), this.#progress.bytes.done);
    const colour = (text: string) => styleText('green', text, { stream: this.#stream });
    const { columns = USUAL_COLUMNS, rows = Number.POSITIVE_INFINITY } = this.#stream;
    const lines = drawBars(this.#progress, this.#rate.perSecond, { width: columns, colour });
    // A drawing that is higher than the screen cannot be replaced. The last line is that of the whole.
    const shown = lines.slice(-Math.max(1, rows - 1));
    this.#erase();
    this.#stream.write(`${shown.join('\n')}\n`);
    this.#drawn = shown.length;
  }

  #erase(): void {
    if (this.#drawn === 0) return;
    moveCursor(this.#stream, 0, -this.#drawn);
    cursorTo(this.#stream, 0);
    clearScreenDown(this.#stream);
    this.#drawn = 0;
  }
}

class Lines implements ProgressReporter {
  readonly #stream: typeof process.stderr;
  readonly #timer: NodeJS.Timeout;
  #progress: Progress | undefined;

  constructor(stream: typeof process.stderr, subject: string) {
    this.#stream = stream;
    stream.write(`Pulling ${subject}\n`);
    this.#timer = setInterval(() => this.#write(), LINE_MS);
    this.#timer.unref();
  }

  update(progress: Progress): void {
    this.#progress = progress;
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  #write(): void {
    if (this.#progress === undefined) return;
    const { step, layers, bytes } = this.#progress;
    const percent = bytes.total === 0 ? 0 : Math.floor((bytes.done / bytes.total) * 100);
    const amount = `${formatBytes(bytes.done)} of ${formatBytes(bytes.total)} (${percent}%)`;
    const what = step === 'fetching' ? `${layers.done} of ${layers.total} layers` : step;
    this.#stream.write(`${amount}, ${what}\n`);
  }
}
