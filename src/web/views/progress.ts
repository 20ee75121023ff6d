/** How far a preparation is. */

import { printable } from '../../util/printable.ts';
import { formatClock } from '../../util/progress/format-time.ts';
import { formatBytes } from '../../util/text/format-bytes.ts';
import { type Element, el, type View } from '../element.ts';
import type { LayerProgress, Part, PreparationStatus } from '../preparation.ts';
import { TEXTS } from '../texts.ts';

const { progress } = TEXTS;

/** Hexadecimal digits of a digest that tell layers apart. */
const SHORT_DIGEST = 12;

/** How fast a preparation is. */
export interface Speed {
  /** Bytes a second, `undefined` until it is known. */
  readonly perSecond: number | undefined;
}

/** A preparation: state, sums, and a bar for each layer that is under way. */
export function progressView(status: PreparationStatus, { perSecond }: Speed): readonly View[] {
  const { bytes, layers, layerProgress, state, error } = status;
  const left = perSecond === undefined || perSecond <= 0 ? undefined : (bytes.total - bytes.done) / perSecond;
  const isRunning = state === 'fetching';
  const facts = [
    layers.total > 0 && progress.layers(layers.done, layers.total),
    bytes.total > 0 && progress.bytes(formatBytes(bytes.done), formatBytes(bytes.total)),
    isRunning && perSecond !== undefined && progress.rate(formatBytes(perSecond)),
    isRunning && left !== undefined && left > 0 && progress.left(formatClock(left)),
  ].filter((fact) => fact !== false);
  return [
    el('p', { class: `state state-${state}` }, progress.states[state]),
    state !== 'failed' &&
      state !== 'cancelled' &&
      meter(progress.heading, state === 'done' ? { done: 1, total: 1 } : bytes),
    facts.length > 0 && el('p', { class: 'note' }, facts.join(' · ')),
    error !== undefined &&
      el('pre', { class: 'error', tabindex: 0, role: 'region', 'aria-label': progress.states.failed }, error),
    layerProgress.length > 0 &&
      state !== 'done' &&
      el('ol', { class: 'in-flight' }, layerProgress.map(layerView)),
  ].filter((view) => view !== false);
}

function layerView({ digest, done, total, isReady }: LayerProgress, at: number): Element {
  const name = printable(digest.replace(/^.*:/, '').slice(0, SHORT_DIGEST));
  return el(
    'li',
    isReady ? { class: 'ready' } : {},
    el('code', {}, name),
    meter(`${progress.layer(at + 1)} ${name}`, { done, total }),
    el('span', { class: 'number' }, isReady ? progress.ready : formatBytes(total)),
  );
}

/** A progress bar; one without a total is indeterminate. */
function meter(label: string, { done, total }: Part): Element {
  return el('progress', {
    'aria-label': label,
    ...(total > 0 && { max: total, value: Math.min(done, total) }),
  });
}
