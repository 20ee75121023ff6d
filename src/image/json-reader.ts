import { isUtf8 } from 'node:buffer';
import { type JsonShape, MAX_PAIRS, SCALAR, type TakeItem, type Wanted, wantedOf } from './json-shape.ts';

/** Most values of a document: each takes up to 0.3 µs. An index of 4 MiB has at most 25,000 entries, with 12 values each. */
const MAX_VALUES = 400_000;

/** Most values of a field that is read as its JSON text: `JSON.parse` reads it later, and takes up to 3 µs for each. */
const MAX_SOURCE_VALUES = 20_000;

/** Deepest nesting. Indexes, manifests and configs have 5 levels. */
const MAX_DEPTH = 100;

/** Longest name of a field that is read, in bytes with escapes: names in shapes have up to 20 characters. */
const MAX_NAME_BYTES = 128;

const BYTE_ORDER_MARK = Buffer.from('\ufeff');

/** In place of an object and of a list that are not read. */
const OTHER_OBJECT: Readonly<Record<string, unknown>> = Object.freeze({});
const OTHER_LIST: readonly unknown[] = Object.freeze([]);

/** A document beyond a limit; the message is the reason. */
export class JsonLimitError extends Error {}

const [QUOTE, BACKSLASH, COMMA, COLON, MINUS, PLUS, POINT] = [0x22, 0x5c, 0x2c, 0x3a, 0x2d, 0x2b, 0x2e];
const [OPEN_OBJECT, CLOSE_OBJECT, OPEN_LIST, CLOSE_LIST] = [0x7b, 0x7d, 0x5b, 0x5d];
const [SPACE, TAB, LINE_FEED, RETURN] = [0x20, 0x09, 0x0a, 0x0d];
const [ZERO, NINE, LOWER_A, LOWER_E, LOWER_F, LOWER_U] = [0x30, 0x39, 0x61, 0x65, 0x66, 0x75];

/** Set in lower-case letters and in digits, so that it makes letters lower case. */
const LOWER = 0x20;

/** In place of a byte behind the end. */
const END = -1;

/** What may follow a backslash, besides `u` and four digits. */
const ESCAPES = Uint8Array.from({ length: 256 }, (_, byte) =>
  '"\\/bfnrt'.includes(String.fromCharCode(byte)) ? 1 : 0,
);

/** Bytes that a text may have as they are: all but control characters, quotation marks and backslashes. */
const PLAIN = Uint8Array.from({ length: 256 }, (_, byte) =>
  byte < SPACE || byte === QUOTE || byte === BACKSLASH ? 0 : 1,
);

/** The values that are words. */
const WORDS = (
  [
    ['true', true],
    ['false', false],
    ['null', null],
  ] as const
).map(([word, value]) => ({ bytes: Buffer.from(word), value }));

/**
 * Reads a document in UTF-8. Documents come from registries and may be made to cost time: `JSON.parse` takes up to 0.5 s for 2 MB
 * of small objects with many names, and twenty times their memory. This reader takes time in proportion to bytes and values, some
 * 5 ms for 1 MB, and makes only the values that are asked for.
 *
 * @param bytes the document
 * @param shape what is read of it
 * @throws JsonLimitError beyond the limits above; SyntaxError for other than JSON; what `take` of a shape throws
 * @see https://www.rfc-editor.org/rfc/rfc8259#section-2
 */
export function readJson(bytes: Uint8Array, shape: Exclude<JsonShape, string>): unknown {
  if (!isUtf8(bytes)) throw new SyntaxError('It is not UTF-8');
  return new JsonReader(bytes).document(wantedOf(shape));
}

/** Reads a document from start to end, once. */
class JsonReader {
  readonly #bytes: Buffer;
  #at: number;
  #depth = 0;
  #values = 0;
  /** Whether the latest text has an escape. */
  #hasEscape = false;

  constructor(bytes: Uint8Array) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    // A byte order mark, as TextDecoder skips it.
    this.#at = this.#bytes.subarray(0, BYTE_ORDER_MARK.length).equals(BYTE_ORDER_MARK)
      ? BYTE_ORDER_MARK.length
      : 0;
  }

  /** Reads the whole document. */
  document(wanted: Wanted): unknown {
    const value = this.#value(wanted);
    if (this.#next() !== END) throw this.#fault();
    return value;
  }

  /** @param wanted without it, the value is only checked */
  #value(wanted: Wanted | undefined): unknown {
    const byte = this.#next();
    const start = this.#at;
    const before = this.#values++;
    if (this.#values > MAX_VALUES) throw new JsonLimitError(`it has more than ${MAX_VALUES} values`);
    const isRead = wanted !== undefined && !wanted.isSource;
    let value: unknown;
    if (byte === QUOTE) {
      this.#passText();
      if (isRead) value = this.#decode(start, this.#at);
    } else if (byte === OPEN_OBJECT) value = wanted?.isPairs ? this.#pairs() : this.#object(wanted?.fields);
    else if (byte === OPEN_LIST) value = this.#list(wanted?.items, wanted?.take);
    else if (byte === MINUS || isDigit(byte)) {
      this.#passNumber();
      if (isRead) value = Number(this.#bytes.toString('latin1', start, this.#at));
    } else value = this.#word();
    if (wanted?.isSource !== true) return value;
    if (this.#values - before > MAX_SOURCE_VALUES)
      throw new JsonLimitError(`a field of it has more than ${MAX_SOURCE_VALUES} values`);
    return this.#bytes.toString('utf8', start, this.#at);
  }

  #object(wanted: Wanted['fields']): Readonly<Record<string, unknown>> {
    const fields: Record<string, unknown> = {};
    this.#enter();
    if (this.#next() !== CLOSE_OBJECT) {
      do {
        const field = this.#field(wanted);
        this.#take(COLON);
        const value = this.#value(field?.wanted);
        if (field !== undefined) fields[field.name] = value;
      } while (this.#takeIf(COMMA));
    }
    this.#leave(CLOSE_OBJECT);
    return wanted === undefined ? OTHER_OBJECT : fields;
  }

  #pairs(): unknown {
    const pairs: [string, unknown][] = [];
    this.#enter();
    if (this.#next() !== CLOSE_OBJECT) {
      do {
        if (this.#next() !== QUOTE) throw this.#fault();
        const start = this.#at;
        this.#passText();
        const isKept = pairs.length <= MAX_PAIRS;
        const name = isKept ? this.#decode(start, this.#at) : '';
        this.#take(COLON);
        const value = this.#value(isKept ? SCALAR : undefined);
        if (isKept) pairs.push([name, value]);
      } while (this.#takeIf(COMMA));
    }
    this.#leave(CLOSE_OBJECT);
    return pairs;
  }

  #list(wanted: Wanted | undefined, take: TakeItem | undefined): unknown {
    const items: unknown[] = [];
    let count = 0;
    this.#enter();
    if (this.#next() !== CLOSE_LIST) {
      do {
        const value = this.#value(wanted);
        if (take !== undefined) take(value, count);
        else if (wanted !== undefined) items.push(value);
        count += 1;
      } while (this.#takeIf(COMMA));
    }
    this.#leave(CLOSE_LIST);
    return wanted === undefined ? OTHER_LIST : items;
  }

  /** Takes the name of a field, and returns what is read of it. */
  #field(wanted: Wanted['fields'] = []) {
    if (this.#next() !== QUOTE) throw this.#fault();
    const start = this.#at;
    this.#passText();
    const end = this.#at;
    if (this.#hasEscape) {
      if (end - start > MAX_NAME_BYTES) return undefined;
      const name = this.#decode(start, end);
      return wanted.find((field) => field.name === name);
    }
    return wanted.find(
      ({ bytes }) => isAt(bytes, this.#bytes, start + 1) && start + bytes.length + 2 === end,
    );
  }

  #passText(): void {
    const bytes = this.#bytes;
    const { length } = bytes;
    let at = this.#at + 1;
    this.#hasEscape = false;
    for (;;) {
      while (at < length && PLAIN[bytes[at] ?? 0] === 1) at += 1;
      if (at >= length) throw this.#fault();
      if (bytes[at] === QUOTE) break;
      if (bytes[at] !== BACKSLASH) throw this.#fault();
      this.#hasEscape = true;
      at = this.#behindEscape(at + 1);
    }
    this.#at = at + 1;
  }

  #behindEscape(at: number): number {
    const bytes = this.#bytes;
    const byte = bytes[at];
    if (byte !== LOWER_U) {
      if (byte === undefined || ESCAPES[byte] !== 1) throw this.#fault();
      return at + 1;
    }
    for (let digit = 1; digit <= 4; digit += 1) if (!isHexDigit(bytes[at + digit])) throw this.#fault();
    return at + 5;
  }

  /** The text between two quotation marks, at `start` and before `end`. */
  #decode(start: number, end: number): string {
    if (this.#hasEscape) return String(JSON.parse(this.#bytes.toString('utf8', start, end)));
    return this.#bytes.toString('utf8', start + 1, end - 1);
  }

  #passNumber(): void {
    this.#takeHere(MINUS);
    if (!this.#takeHere(ZERO)) this.#passDigits();
    if (this.#takeHere(POINT)) this.#passDigits();
    if (((this.#bytes[this.#at] ?? 0) | LOWER) !== LOWER_E) return;
    this.#at += 1;
    if (!this.#takeHere(MINUS)) this.#takeHere(PLUS);
    this.#passDigits();
  }

  #passDigits(): void {
    const bytes = this.#bytes;
    let at = this.#at;
    while (isDigit(bytes[at])) at += 1;
    if (at === this.#at) throw this.#fault();
    this.#at = at;
  }

  #word(): boolean | null {
    const found = WORDS.find(({ bytes }) => isAt(bytes, this.#bytes, this.#at));
    if (found === undefined) throw this.#fault();
    this.#at += found.bytes.length;
    return found.value;
  }

  #enter(): void {
    this.#at += 1;
    this.#depth += 1;
    if (this.#depth > MAX_DEPTH) throw new JsonLimitError(`it is nested deeper than ${MAX_DEPTH} levels`);
  }

  #leave(end: number): void {
    this.#take(end);
    this.#depth -= 1;
  }

  /** Skips white space, and returns the byte behind it without taking it. */
  #next(): number {
    const bytes = this.#bytes;
    let at = this.#at;
    while (at < bytes.length && isSpace(bytes[at])) at += 1;
    this.#at = at;
    return at < bytes.length ? (bytes[at] ?? END) : END;
  }

  #take(byte: number): void {
    if (!this.#takeIf(byte)) throw this.#fault();
  }

  /** Takes a byte behind white space, if it is there. */
  #takeIf(byte: number): boolean {
    this.#next();
    return this.#takeHere(byte);
  }

  #takeHere(byte: number): boolean {
    if (this.#bytes[this.#at] !== byte) return false;
    this.#at += 1;
    return true;
  }

  #fault(): SyntaxError {
    return new SyntaxError(`No JSON at byte ${this.#at}`);
  }
}

/** Whether a word stands at a place. */
function isAt(word: Uint8Array, bytes: Uint8Array, at: number): boolean {
  if (at + word.length > bytes.length) return false;
  for (let index = 0; index < word.length; index += 1) if (bytes[at + index] !== word[index]) return false;
  return true;
}

function isSpace(byte: number | undefined): boolean {
  return byte === SPACE || byte === LINE_FEED || byte === RETURN || byte === TAB;
}

function isDigit(byte: number | undefined): boolean {
  return byte !== undefined && byte >= ZERO && byte <= NINE;
}

function isHexDigit(byte = 0): boolean {
  const letter = byte | LOWER;
  return isDigit(byte) || (letter >= LOWER_A && letter <= LOWER_F);
}
