import { PassthroughError } from '../errors.ts';
import { type HostPattern, parseHostPattern } from '../registry/host-pattern.ts';
import { quoted } from '../util/printable.ts';

/** Variables by name, such as `process.env`. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** Longest value in an error, in characters: lists are long, and the operator has to find what is wrong in them. */
const MAX_VALUE_LENGTH = 1000;

/** Node's timers take at most 2^31 - 1 milliseconds, about 24 days. */
const MAX_SECONDS = 2_000_000;

/**
 * Reads single variables. An empty variable counts as unset, except for `raw`. All methods but `raw`, `text` and `secret`
 * throw `INVALID_CONFIGURATION` naming variable, value and what is allowed.
 */
export class EnvironmentReader {
  readonly #environment: Environment;
  /** Names of all variables that were read, set or not. */
  readonly names = new Set<string>();

  constructor(environment: Environment) {
    this.#environment = environment;
  }

  /** All variables, for programs that get some of them. */
  all(): Environment {
    return this.#environment;
  }

  /** The value without spaces at its ends; `''` for an empty variable, `undefined` for an unset one. */
  raw(name: string): string | undefined {
    this.names.add(name);
    return this.#environment[name]?.trim();
  }

  /** The value without spaces at its ends; `undefined` for an empty one. */
  text(name: string): string | undefined {
    return this.raw(name) || undefined;
  }

  /** The exact value, with the spaces at its ends. */
  secret(name: string): string | undefined {
    this.names.add(name);
    return this.#environment[name] || undefined;
  }

  /** One of a list, upper or lower case. */
  choice<T extends string>(name: string, allowed: readonly T[], otherwise: T): T {
    const text = this.text(name);
    if (text === undefined) return otherwise;
    const found = allowed.find((choice) => choice === text.toLowerCase());
    if (found === undefined) throw invalidVariable(name, text, `expected one of ${allowed.join(', ')}`);
    return found;
  }

  /** A whole number in decimal digits, from `min` to `max`. */
  integer(name: string, otherwise: number, min: number, max: number): number {
    const text = this.text(name);
    if (text === undefined) return otherwise;
    const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
    if (!(value >= min && value <= max))
      throw invalidVariable(name, text, `expected a whole number from ${min} to ${max}`);
    return value;
  }

  /** Seconds, with or without decimals. Returns milliseconds. */
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

  /** A number of bytes: `1048576`, `512MiB`, `4GB`. */
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

  /** A list of hosts, separated by commas; empty for an unset variable. */
  hosts(name: string): readonly HostPattern[] {
    const text = this.text(name) ?? '';
    if (text.includes('@')) throw invalidVariable(name, text, 'expected hosts without credentials');
    const entries = text.split(',').map((entry) => entry.trim());
    return entries.filter((entry) => entry !== '').map((entry) => reworded(name, entry, parseHostPattern));
  }

  /** The parsed value. An error of the parser becomes the reason of the error with the variable's name. */
  parsed<T>(name: string, otherwise: string, parse: (text: string) => T): T {
    return reworded(name, this.text(name) ?? otherwise, parse);
  }

  /** An entry of a list. Errors as with {@link parsed}. */
  entry<T>(name: string, text: string, parse: (text: string) => T): T {
    return reworded(name, text, parse);
  }
}

function reworded<T>(name: string, text: string, parse: (text: string) => T): T {
  try {
    return parse(text);
  } catch (error) {
    throw invalidVariable(name, text, error instanceof Error ? error.message : String(error));
  }
}

/** The error for a value that is not allowed: `INVALID_CONFIGURATION`. A password in the value is redacted. */
export function invalidVariable(name: string, value: string, why: string): PassthroughError {
  // A URL may hold a password although none is allowed there. A password may hold any character, also `@` and `/`.
  const shown = value.replace(/^([a-z]+:\/\/)?.*@/is, '$1[redacted]@');
  return new PassthroughError(
    'INVALID_CONFIGURATION',
    `Cannot use ${name}=${quoted(shown, MAX_VALUE_LENGTH)}: ${why}`,
  );
}
