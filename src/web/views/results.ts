/** What the form leads to: the address of the archive and the commands. */

import type { Choice } from '../choice.ts';
import { type CommandGroup, commandsFor, type KnownFacts, urlOf } from '../commands.ts';
import { type Element, el, type View } from '../element.ts';
import type { TargetResult } from '../target.ts';
import { TEXTS } from '../texts.ts';

const { results } = TEXTS;

/** What results are shown by. */
export interface ResultOptions {
  /** Origin of the service; `undefined` while it is not typed. */
  readonly origin: string | undefined;
  readonly facts?: KnownFacts;
  /** Whether there are buttons, which need a script. */
  readonly hasScript: boolean;
}

/** The link to the archive, with the name under which it is saved. */
export function downloadView({ target }: TargetResult, origin: string | undefined): readonly View[] {
  if (target === undefined || origin === undefined) return [];
  const name = el('span', { class: 'name' }, target.filename);
  const link = { class: 'button primary', href: urlOf(origin, target), download: target.filename };
  return [el('a', link, results.download, ' ', name)];
}

/** The commands of a choice. */
export function resultsView(
  choice: Choice,
  { target, faults }: TargetResult,
  options: ResultOptions,
): readonly View[] {
  const { origin, facts, hasScript } = options;
  if (target === undefined || origin === undefined) {
    return [el('p', { class: 'empty' }, faults.length === 0 ? results.empty : results.faults)];
  }
  return commandsFor(origin, choice, target, facts).map((group) => groupView(group, hasScript));
}

function groupView({ id, text, notes }: CommandGroup, hasScript: boolean): Element {
  const title = results.groups[id];
  return el(
    'section',
    { class: 'group', 'aria-labelledby': `group-${id}` },
    el(
      'div',
      { class: 'bar' },
      el('h3', { id: `group-${id}` }, title),
      hasScript &&
        text !== '' &&
        el(
          'button',
          {
            type: 'button',
            class: 'small',
            'data-copy': `text-${id}`,
            'aria-label': `${results.copy}: ${title}`,
          },
          results.copy,
        ),
    ),
    text !== '' && el('pre', { id: `text-${id}` }, el('code', {}, linesOf(text))),
    notes.map((note) => el('p', { class: 'note' }, note)),
  );
}

/** Each line in an element, so that one that is too long for the window is seen to go on. The text stays the same. */
function linesOf(text: string): readonly Element[] {
  const lines = text.split(/(?<=\n)/);
  return lines.map((line) => el('span', { class: 'line' }, line));
}
