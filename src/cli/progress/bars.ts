import type { Count, Progress } from '../../pull/progress.ts';
import { formatClock } from '../../util/progress/format-time.ts';
import { formatBytes } from '../../util/text/format-bytes.ts';

/** How bars are drawn. */
export interface BarStyle {
  /** Columns of the terminal. */
  readonly width: number;
  /** Colours the filled part of a bar. */
  readonly colour: (text: string) => string;
}

/** Narrowest bar that shows anything, in columns; a narrower terminal gets numbers only. */
const MIN_BAR = 8;

/** Widest bar, in columns: more shows no more. */
const MAX_BAR = 40;

/** Digits of a digest that tell layers apart, as Docker shows them. */
const SHORT_DIGEST = 12;

/**
 * Draws the bars: one for each layer in flight, and one for the whole.
 *
 * @param rate bytes a second, if it is known
 * @returns lines that fit into the width
 */
export function drawBars(progress: Progress, rate: number | undefined, style: BarStyle): readonly string[] {
  const { step, layers, bytes, inFlight } = progress;
  const lines = inFlight.map(({ digest, ...count }) =>
    drawLine(digest.slice(digest.indexOf(':') + 1).slice(0, SHORT_DIGEST), count, '', style),
  );
  const label = step === 'fetching' ? `layers ${layers.done}/${layers.total}` : step;
  return [...lines, drawLine(label, bytes, speedOf(bytes, rate), style)];
}

function speedOf({ done, total }: Count, rate: number | undefined): string {
  if (rate === undefined || rate <= 0) return '';
  return ` ${formatBytes(rate)}/s, ${formatClock((total - done) / rate)} left`;
}

function drawLine(
  label: string,
  { done, total }: Count,
  behind: string,
  { width, colour }: BarStyle,
): string {
  const part = total === 0 ? 0 : Math.min(1, done / total);
  const percent = `${Math.floor(part * 100)}%`.padStart(4);
  const start = label.padEnd(SHORT_DIGEST);
  const end = `${percent} ${formatBytes(done)} / ${formatBytes(total)}${behind}`;
  // The last column stays empty: some terminals begin a new line after it.
  const room = Math.min(MAX_BAR, width - 1 - start.length - end.length - 4);
  if (room < MIN_BAR) return `${start} ${end}`.slice(0, Math.max(0, width - 1));
  const filled = Math.round(part * room);
  return `${start} [${colour('='.repeat(filled))}${' '.repeat(room - filled)}] ${end}`;
}
