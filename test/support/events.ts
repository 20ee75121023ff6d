/** Streams of events, as a browser reads them. */

import assert from 'node:assert/strict';
import type { IncomingMessage } from 'node:http';
import { Conditions } from './conditions.ts';
import type { PreparationDocument } from './preparing.ts';
import { within } from './within.ts';

/** An event of a preparation. */
export interface ProgressEvent {
  readonly id: number;
  readonly document: PreparationDocument;
}

/** A stream of events that is being read. */
export interface EventReader {
  /** The events so far. */
  readonly events: readonly ProgressEvent[];
  /** Everything so far, as it came. */
  text(): string;
  /** Resolves with the first event that fulfils a condition. */
  waitFor(isMeant: (event: ProgressEvent) => boolean): Promise<ProgressEvent>;
  /** Resolves when the stream has ended, with whether it broke off. */
  readonly ended: Promise<{ readonly isCut: boolean }>;
}

/** Reads a stream of events, whose form must be right. */
export function readEvents(response: IncomingMessage): EventReader {
  const conditions = new Conditions();
  const events: ProgressEvent[] = [];
  let text = '';
  let rest = '';
  response.setEncoding('utf8');
  const read = async () => {
    let isCut = false;
    try {
      for await (const chunk of response) {
        text += chunk;
        rest += chunk;
        const blocks = rest.split('\n\n');
        rest = blocks.pop() ?? '';
        events.push(...blocks.flatMap(parseBlock));
        conditions.changed();
      }
    } catch {
      isCut = true;
    }
    conditions.close(new Error(`Cannot wait for an event: the stream has ended after ${text}`));
    return { isCut };
  };
  return {
    events,
    text: () => text,
    waitFor: (isMeant) =>
      within(
        conditions.when(() => events.find(isMeant)),
        'an event',
      ),
    ended: within(read(), 'the end of the events'),
  };
}

/** Parses what a stream has sent, which must be whole. */
export function parseEvents(text: string): readonly ProgressEvent[] {
  assert.ok(text === '' || text.endsWith('\n\n'), text);
  return text.split('\n\n').slice(0, -1).flatMap(parseBlock);
}

function parseBlock(block: string): readonly ProgressEvent[] {
  if (block === ':') return [];
  const [, id, data = ''] = /^event: progress\nid: (\d+)\ndata: ([^\r\n]+)$/.exec(block) ?? [];
  assert.notEqual(id, undefined, `no event: ${JSON.stringify(block)}`);
  return [{ id: Number(id), document: JSON.parse(data) as PreparationDocument }];
}
