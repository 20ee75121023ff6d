/** Pictures of flows: boxes in a row, and arrows between them from top to bottom, as a sequence in time. */

import { type Element, el } from '../../src/web/element.ts';

/** A message from one party to another. */
export interface Message {
  /** Index of the sender. */
  readonly from: number;
  readonly to: number;
  readonly text: string;
}

/** Sizes in units of the picture. */
const WIDTH = 800;
const BOX = { width: 168, height: 40 };
const FIRST_ROW = 78;
const ROW = 34;
const ARROW = 8;

/**
 * Draws a flow.
 *
 * @param id of the picture, for its title
 * @param parties names from left to right, each with a line about it
 */
export function flow(
  id: string,
  title: string,
  parties: readonly (readonly [name: string, about: string])[],
  messages: readonly Message[],
): Element {
  const height = FIRST_ROW + messages.length * ROW;
  const centre = (index: number) => ((index + 0.5) * WIDTH) / parties.length;
  return el(
    'figure',
    {},
    // Scrolls in a narrow window, also by keyboard.
    el(
      'div',
      { class: 'scroll', tabindex: 0, role: 'group', 'aria-label': title },
      el(
        'svg',
        { class: 'flow', viewBox: `0 0 ${WIDTH} ${height}`, role: 'img', 'aria-labelledby': id },
        el(
          'title',
          { id },
          `${title}: ${messages.map(({ from, to, text }) => `${parties[from]?.[0]} to ${parties[to]?.[0]}: ${text}`).join('; ')}`,
        ),
        parties.map(([name, about], index) => party(centre(index), height, name, about)),
        messages.map((message, at) =>
          arrow(centre(message.from), centre(message.to), FIRST_ROW + at * ROW, message.text),
        ),
      ),
    ),
    el('figcaption', {}, title),
  );
}

function party(x: number, height: number, name: string, about: string): Element {
  return el(
    'g',
    {},
    el('line', { x1: x, x2: x, y1: BOX.height, y2: height - 6, 'stroke-dasharray': '3 4' }),
    el('rect', { x: x - BOX.width / 2, y: 1, width: BOX.width, height: BOX.height, rx: 8 }),
    el('text', { x, y: 18 }, name),
    el('text', { x, y: 33, class: 'soft' }, about),
  );
}

function arrow(x1: number, x2: number, y: number, text: string): Element {
  const direction = Math.sign(x2 - x1);
  const end = x2 - direction * 2;
  const tip = end - direction * ARROW;
  return el(
    'g',
    {},
    el('text', { x: (x1 + x2) / 2, y: y - 6, class: 'soft message' }, text),
    el('line', { x1: x1 + direction * 2, x2: tip, y1: y, y2: y }),
    el('polygon', { points: `${end},${y} ${tip},${y - 4} ${tip},${y + 4}` }),
  );
}
