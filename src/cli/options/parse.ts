import { PassthroughError } from '../../errors.ts';
import { quoted } from '../../util/printable.ts';
import { nearest } from '../../util/text/nearest.ts';

/** An option of a command, as help, parser and completion need it. */
export interface OptionSpec {
  /** Without dashes: `cacert` is written `--cacert`. */
  readonly name: string;
  /** One letter: `x` is written `-x`. */
  readonly short?: string;
  /** Other long names. They work and are not shown. */
  readonly aliases?: readonly string[];
  /** What the help shows in place of the value; a flag has none. */
  readonly value?: string;
  /** The only values that are allowed. */
  readonly choices?: readonly string[];
  /** What the shell completes the value with. Unless given, nothing. */
  readonly completes?: 'file' | 'folder';
  readonly text: string;
}

/** What stands on a command line. */
export interface ParsedLine {
  readonly options: ParsedOptions;
  readonly positionals: readonly string[];
}

/** The options of a command line. */
export class ParsedOptions {
  readonly #values: ReadonlyMap<string, string | true>;

  /** @param values by long name; `true` for a flag */
  constructor(values: ReadonlyMap<string, string | true>) {
    this.#values = values;
  }

  /** The options that are given, in their order, by long name. */
  get entries(): readonly (readonly [name: string, value: string | true])[] {
    return [...this.#values];
  }

  /** Whether an option is given. */
  has(name: string): boolean {
    return this.#values.has(name);
  }

  /** The value of an option; `undefined` if it is not given. */
  text(name: string): string | undefined {
    const value = this.#values.get(name);
    return value === true ? undefined : value;
  }
}

/** The error for a command line that is used wrongly: `INVALID_CONFIGURATION`, which ends with exit code 2. */
export function misuse(message: string, ...hints: readonly string[]): PassthroughError {
  return new PassthroughError('INVALID_CONFIGURATION', message, { hints });
}

/** Most edits for a name that is meant: a third of its length, and one for the shortest. */
export function editsOf(name: string): number {
  return Math.max(1, Math.floor(name.length / 3));
}

/**
 * Parses options and positionals in any order. A value is written `--x v`, `--x=v`, `-x v`, `-x=v` or `-xv`; short flags may stand
 * together, as in `-qi`. Everything behind `--` is a positional, and so is `-`.
 *
 * @param args without the program and its command
 * @param specs the options that the command takes
 * @throws PassthroughError `INVALID_CONFIGURATION` for an option that is unknown, repeated or lacks its value
 */
export function parseLine(args: readonly string[], specs: readonly OptionSpec[]): ParsedLine {
  const values = new Map<string, string | true>();
  const positionals: string[] = [];
  const rest = [...args];
  for (let arg = rest.shift(); arg !== undefined; arg = rest.shift()) {
    if (arg === '--') {
      positionals.push(...rest.splice(0));
    } else if (arg.startsWith('--')) {
      const { name = '', value } = /^--(?<name>[^=]*)(?:=(?<value>.*))?$/s.exec(arg)?.groups ?? {};
      const spec = specs.find((one) => one.name === name || one.aliases?.includes(name));
      if (spec === undefined) throw unknownOption(`--${name}`, specs);
      add(values, spec, `--${name}`, valueIn(spec, `--${name}`, value, rest));
    } else if (arg.startsWith('-') && arg !== '-') {
      parseShort(arg, specs, rest, values);
    } else {
      positionals.push(arg);
    }
  }
  return { options: new ParsedOptions(values), positionals };
}

/** Parses `-x`, `-xv`, `-x=v`, or several flags of one letter. */
function parseShort(
  arg: string,
  specs: readonly OptionSpec[],
  rest: string[],
  values: Map<string, string | true>,
): void {
  for (let letters = arg.slice(1); letters !== ''; ) {
    const short = letters.slice(0, 1);
    const spec = specs.find((one) => one.short === short);
    if (spec === undefined) throw unknownOption(`-${short}`, specs, arg);
    const behind = letters.slice(1);
    if (spec.value === undefined && !behind.startsWith('=')) {
      add(values, spec, `-${short}`, true);
      letters = behind;
    } else {
      const value = behind === '' ? undefined : behind.replace(/^=/, '');
      add(values, spec, `-${short}`, valueIn(spec, `-${short}`, value, rest));
      letters = '';
    }
  }
}

/** @param rest the arguments that follow, whose first is taken if the option has no value of its own */
function valueIn(
  spec: OptionSpec,
  written: string,
  value: string | undefined,
  rest: string[],
): string | true {
  if (spec.value === undefined) {
    if (value === undefined) return true;
    throw misuse(`Cannot use ${written}: it takes no value`);
  }
  // An option in the place of the value is most likely a forgotten value.
  const isOption = /^-./.test(rest[0] ?? '');
  const text = value ?? (isOption ? undefined : rest.shift());
  if (text === undefined) {
    const form = `write ${longOf(spec)}=${spec.value}`;
    throw misuse(
      `Cannot use ${written}: its value is missing`,
      isOption ? `For a value that begins with "-", ${form}` : `Its form: ${form}`,
    );
  }
  if (text === '' && spec.name !== 'password') throw misuse(`Cannot use ${written}: its value is empty`);
  if (spec.choices === undefined || spec.choices.includes(text)) return text;
  const meant = nearest(text.toLowerCase(), spec.choices, editsOf);
  const hints = meant === undefined ? [] : [`Did you mean ${longOf(spec)} ${meant}?`];
  throw misuse(`Cannot use ${written}=${quoted(text)}: expected ${listOf(spec.choices)}`, ...hints);
}

function add(
  values: Map<string, string | true>,
  spec: OptionSpec,
  written: string,
  value: string | true,
): void {
  if (values.has(spec.name)) throw misuse(`Cannot use ${written}: ${longOf(spec)} is given twice`);
  values.set(spec.name, value);
}

/** @param arg the argument that holds the option, if it holds more */
function unknownOption(written: string, specs: readonly OptionSpec[], arg = written): PassthroughError {
  const names = specs.flatMap(({ name, aliases = [] }) => [name, ...aliases]);
  // A long name with one dash: `-platform linux/arm64`.
  const word = arg.split('=', 1).join('').replace(/^-+/, '').toLowerCase();
  const meant = word.length > 1 ? nearest(word, names, editsOf) : undefined;
  const hint = meant === undefined ? 'See --help for the options' : `Did you mean --${meant}?`;
  const shown = word.length > 1 && !arg.startsWith('--') && meant !== undefined ? `-${word}` : written;
  return misuse(`Unknown option ${quoted(shown)}`, hint);
}

function longOf({ name }: OptionSpec): string {
  return `--${name}`;
}

/** Words as a list of alternatives: `http or https`. */
export function listOf(words: readonly string[]): string {
  return words.length < 2 ? words.join() : `${words.slice(0, -1).join(', ')} or ${words.at(-1)}`;
}
