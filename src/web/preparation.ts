/** Reads how far a preparation is, from JSON and from server-sent events. */

import { fieldsOf } from '../image/json-shape.ts';
import { TEXTS } from './texts.ts';

/** The steps of a preparation, and how it ended. */
export type PreparationState = keyof typeof TEXTS.progress.states;

/** A part of a total. */
export interface Part {
  readonly done: number;
  readonly total: number;
}

/** How far a layer is, in compressed bytes. */
export interface LayerProgress extends Part {
  readonly digest: string;
  /** Whether it is verified and stored. */
  readonly isReady: boolean;
}

/** A preparation as the page shows it. */
export interface PreparationStatus {
  readonly id: string;
  readonly state: PreparationState;
  readonly layers: Part;
  readonly bytes: Part;
  /** The layers, in the order of the image. */
  readonly layerProgress: readonly LayerProgress[];
  /** The service's error, as it stands. */
  readonly error?: string | undefined;
}

/** A preparation that the service has not answered for yet. */
export const STARTING: PreparationStatus = Object.freeze({
  id: '',
  state: 'starting',
  layers: { done: 0, total: 0 },
  bytes: { done: 0, total: 0 },
  layerProgress: [],
});

/** Reads the JSON of `GET /preparations/{id}`. A state that this page does not know counts as fetching. */
export function readPreparation(value: unknown): PreparationStatus {
  const { id, state, layers, bytes, layerProgress, error } = fieldsOf(value);
  const isKnown = typeof state === 'string' && Object.hasOwn(TEXTS.progress.states, state);
  return {
    id: typeof id === 'string' ? id : '',
    state: isKnown ? (state as PreparationState) : 'fetching',
    layers: partOf(layers),
    bytes: partOf(bytes),
    layerProgress: (Array.isArray(layerProgress) ? layerProgress : []).map((layer: unknown) => {
      const { digest, state: layerState } = fieldsOf(layer);
      const name = typeof digest === 'string' ? digest : '';
      return { ...partOf(layer), digest: name, isReady: layerState === 'ready' };
    }),
    ...(error !== undefined && { error: errorText(error) }),
  };
}

/** The lines that an answer with this error would have. */
function errorText(error: unknown): string {
  const { line, title, detail, hints } = fieldsOf(error);
  const first =
    typeof line === 'string'
      ? [line]
      : [[title, detail].filter((text) => typeof text === 'string').join(': ')];
  return [...first, ...(Array.isArray(hints) ? hints : [])].map(String).join('\n');
}

function partOf(value: unknown): Part {
  const { done, total } = fieldsOf(value);
  return { done: countOf(done), total: countOf(total) };
}

function countOf(value: unknown): number {
  return typeof value === 'number' && Number.isFinite(value) && value > 0 ? value : 0;
}

/** Whether a preparation has ended. */
export function hasEnded({ state }: PreparationStatus): boolean {
  return state === 'done' || state === 'failed' || state === 'cancelled';
}

/** An event of a stream. */
export interface StreamEvent {
  readonly data: string;
  readonly id: string | undefined;
}

/** Longest event that is read, in characters: a preparation takes a few hundred. */
const MAX_EVENT_LENGTH = 1_000_000;

/**
 * Reads server-sent events from a text that comes in pieces.
 *
 * @see https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
 */
export class EventReader {
  #rest = '';
  #data: string[] = [];
  #id: string | undefined;

  /**
   * @param text the next piece
   * @returns events that are complete with it
   * @throws Error for an event that is too long
   */
  read(text: string): readonly StreamEvent[] {
    const lines = (this.#rest + text).split(/\r\n|\n|\r(?!$)/);
    this.#rest = lines.pop() ?? '';
    if (this.#rest.length > MAX_EVENT_LENGTH) throw new Error(TEXTS.service.tooLarge);
    return lines.flatMap((line) => this.#take(line));
  }

  #take(line: string): readonly StreamEvent[] {
    if (line !== '') {
      const [name = '', value = ''] = cut(line);
      if (name === 'data') this.#data.push(value);
      if (name === 'id') this.#id = value;
      return [];
    }
    const data = this.#data.join('\n');
    const isEmpty = this.#data.length === 0;
    this.#data = [];
    return isEmpty ? [] : [{ data, id: this.#id }];
  }
}

/** Name and value of a line; the name is empty for a comment. */
function cut(line: string): [name: string, value: string] {
  const at = line.indexOf(':');
  return at === -1 ? [line, ''] : [line.slice(0, at), line.slice(at + 1).replace(/^ /, '')];
}
