import { type Command, type CommandCall, PROGRAM } from './command.ts';
import { findCommand } from './options/find-command.ts';
import type { OptionSpec } from './options/parse.ts';
import { GLOBAL_OPTIONS } from './options/specs.ts';

/** Width of the text, in columns: that of a terminal that was not made wider. */
const WIDTH = 100;

/** Columns from the start of an option to its text. */
const OPTION_COLUMN = 32;

/** The `help` command. */
export async function run({ positionals: [name], commands }: CommandCall): Promise<number> {
  process.stdout.write(name === undefined ? generalHelp(commands) : commandHelp(findCommand(name, commands)));
  return 0;
}

/** The text of `--help` without a command. */
export function generalHelp(commands: readonly Command[]): string {
  const width = Math.max(...commands.map(({ name }) => name.length)) + 3;
  return `${[
    `Usage: ${PROGRAM} [command] [options]`,
    '',
    'Gives container images as the archives that docker load and app-hosting install take: over HTTP, or to a file.',
    '',
    'Commands',
    ...commands.map(({ name, summary }) => `  ${name.padEnd(width)}${summary}`),
    '',
    'Options',
    ...GLOBAL_OPTIONS.flatMap(optionLines),
    '',
    `${PROGRAM} COMMAND --help tells the options of a command and has examples.`,
    '',
    'serve reads its settings from the environment and from .env. The ones most often set: HTTP_PORT, REGISTRY_URL,',
    'REGISTRY_USERNAME, REGISTRY_PASSWORD, CACHE_DIR, LOG_LEVEL.',
    '',
    'Exit codes: 0 done, 1 failed, 2 used wrongly, 3 not found, 4 refused, 130 and 143 ended by a signal',
  ].join('\n')}\n`;
}

/** The text of `--help` behind a command. */
export function commandHelp({ name, operands, summary, text, options, examples }: Command): string {
  const usage = [PROGRAM, name, ...(options.length > 0 ? ['[options]'] : []), operands];
  return `${[
    `Usage: ${usage.filter((part) => part !== '').join(' ')}`,
    '',
    `${summary.slice(0, 1).toUpperCase()}${summary.slice(1)}.`,
    ...text.flatMap((paragraph) => ['', ...wrap(paragraph, WIDTH)]),
    '',
    'Options',
    ...[...options, ...GLOBAL_OPTIONS].flatMap(optionLines),
    '',
    'Examples',
    ...examples.flatMap(([line, what]) => [`  # ${what}`, `  ${PROGRAM} ${line}`]),
  ].join('\n')}\n`;
}

function optionLines({ name, short, value, text }: OptionSpec): string[] {
  const start = `  ${short === undefined ? '   ' : `-${short},`} --${name}${value === undefined ? '' : ` ${value}`}`;
  const [first = '', ...rest] = wrap(text, WIDTH - OPTION_COLUMN);
  return [
    `${start.padEnd(OPTION_COLUMN - 1)} ${first}`,
    ...rest.map((line) => ' '.repeat(OPTION_COLUMN) + line),
  ];
}

function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  for (const word of text.split(' ')) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + 1 + word.length <= width)
      lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(word);
  }
  return lines;
}
