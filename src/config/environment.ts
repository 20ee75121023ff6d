import { PassthroughError } from '../errors.ts';
import { type HostPattern, parseHostPattern } from '../registry/host-pattern.ts';

/** Variables by name: `process.env`, or what a test makes up. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** Timers of Node hold 32 bits of milliseconds: about 24 days. */
const MAX_SECONDS = 2_000_000;

/**
 * Reads single variables. An empty one counts as unset, except through `raw`. All but `raw`, `text` and `secret` throw
 * `INVALID_CONFIGURATION` naming variable, value and what is allowed.
 */
export class EnvironmentReader {
  readonly #environment: Environment;

  constructor(environment: Environment) {
    this.#environment = environment;
  }

  /** The value without spaces at its ends: an empty one is not an unset one here. */
  raw(name: string): string | undefined {
    return this.#environment[name]?.trim();
  }

  /** The value without spaces at its ends, `undefined` when nothing is left. */
  text(name: string): string | undefined {
    return this.raw(name) || undefined;
  }

  /** A value that is taken to the letter, spaces at its ends included. */
  secret(name: string): string | undefined {
    return this.#environment[name] || undefined;
  }

  /** One of a list, in any case. */
  choice<T extends string>(name: string, allowed: readonly T[], otherwise: T): T {
    const text = this.text(name);
    if (text === undefined) return otherwise;
    const found = allowed.find((choice) => choice === text.toLowerCase());
    if (found === undefined) throw invalidVariable(name, text, `expected one of ${allowed.join(', ')}`);
    return found;
  }

  /** A whole number in decimal digits, both bounds included. */
  integer(name: string, otherwise: number, min: number, max: number): number {
    const text = this.text(name);
    if (text === undefined) return otherwise;
    const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
    if (!(value >= min && value <= max))
      throw invalidVariable(name, text, `expected a whole number from ${min} to ${max}`);
    return value;
  }

  /** Seconds, with decimals where wanted, as milliseconds. */
  milliseconds(name: string, otherwiseSeconds: number, min: 0 | undefined = undefined): number {
    const text = this.text(name);
    const seconds =
      text === undefined ? otherwiseSeconds : /^\d+(?:\.\d+)?$/.test(text) ? Number(text) : Number.NaN;
    if (!((seconds > 0 || seconds === min) && seconds <= MAX_SECONDS)) {
      const least = min === 0 ? '0 or more' : 'more than 0';
      throw invalidVariable(name, text ?? '', `expected seconds, ${least} and at most ${MAX_SECONDS}`);
    }
    return Math.ceil(seconds * 1000);
  }

  /** A number of bytes: `1048576`, `512MiB`, `4GB`; 0 only where that means something. */
  bytes(name: string, otherwise: number, min: 0 | 1 = 1): number {
    const text = this.text(name);
    if (text === undefined) return otherwise;
    const {
      digits,
      unit = '',
      binary,
    } = /^(?<digits>\d+)\s*(?:(?<unit>[kmgt])(?<binary>i)?b?|b)?$/i.exec(text)?.groups ?? {};
    const base = binary === undefined ? 1000 : 1024;
    const value = Number(digits ?? Number.NaN) * base ** ' kmgt'.indexOf(unit.toLowerCase() || ' ');
    if (!(value >= min && value <= Number.MAX_SAFE_INTEGER)) {
      throw invalidVariable(name, text, 'expected a number of bytes, such as 1048576, 512MiB or 4GB');
    }
    return value;
  }

  /** A list of hosts with commas between them; empty where there is none. */
  hosts(name: string): readonly HostPattern[] {
    const text = this.text(name) ?? '';
    if (text.includes('@')) throw invalidVariable(name, text, 'expected hosts without credentials');
    const entries = text.split(',').map((entry) => entry.trim());
    return entries.filter((entry) => entry !== '').map((entry) => reworded(name, entry, parseHostPattern));
  }

  /** What a parser makes of the value; its error is told with the variable's name. */
  parsed<T>(name: string, otherwise: string, parse: (text: string) => T): T {
    return reworded(name, this.text(name) ?? otherwise, parse);
  }
}

function reworded<T>(name: string, text: string, parse: (text: string) => T): T {
  try {
    return parse(text);
  } catch (error) {
    throw invalidVariable(name, text, error instanceof Error ? error.message : String(error));
  }
}

/** The error for a value that is not allowed: `INVALID_CONFIGURATION`. A password in it is not shown. */
export function invalidVariable(name: string, value: string, why: string): PassthroughError {
  // A URL may hold a password in the place where none belongs, and a password any character.
  const shown = value.replace(/^([a-z]+:\/\/)?.*@/is, '$1[redacted]@');
  return new PassthroughError('INVALID_CONFIGURATION', `Cannot use ${name}=${JSON.stringify(shown)}: ${why}`);
}
