/** The man page of the program, made of the help texts: docker-http-passthrough(1). */

import { type Command, PROGRAM } from '../src/cli/command.ts';
import { COMMANDS } from '../src/cli/commands.ts';
import { generalHelp } from '../src/cli/help.ts';
import type { OptionSpec } from '../src/cli/options/parse.ts';
import { GLOBAL_OPTIONS } from '../src/cli/options/specs.ts';
import { VERSION } from '../src/version.ts';

/** Text as roff prints it: a backslash and a hyphen are themselves, and no line begins a request. */
function roff(text: string): string {
  return text
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replaceAll(/^(?=[.'])/gm, '\\&');
}

function optionLines({ name, short, value, text }: OptionSpec): string[] {
  const names = [...(short === undefined ? [] : [`-${short}`]), `--${name}`];
  const bold = names.map((part) => `\\fB${roff(part)}\\fR`).join(', ');
  return ['.TP', value === undefined ? bold : `${bold} \\fI${roff(value)}\\fR`, roff(capital(text))];
}

function commandLines({ name, operands, summary, text, options, examples }: Command): string[] {
  return [
    `.SS ${roff(name)}`,
    `\\fB${roff(PROGRAM)} ${roff(name)}\\fR${options.length > 0 ? ' [options]' : ''} ${roff(operands)}`.trimEnd(),
    ...['.PP', `${roff(capital(summary))}.`],
    ...text.flatMap((paragraph) => ['.PP', roff(paragraph)]),
    ...options.flatMap(optionLines),
    ...examples.flatMap(([line, what]) => [
      '.PP',
      `${roff(capital(what))}:`,
      '.PP',
      '.nf',
      `    ${roff(`${PROGRAM} ${line}`)}`,
      '.fi',
    ]),
  ];
}

function capital(text: string): string {
  return text.slice(0, 1).toUpperCase() + text.slice(1);
}

/** The codes and their meanings, from the last line of the help. */
function exitCodes(): readonly (readonly [code: string, meaning: string])[] {
  const [, list] = /^Exit codes: (.+)$/m.exec(generalHelp(COMMANDS)) ?? [];
  if (list === undefined) throw new Error('Cannot find the exit codes in the help');
  return list.split(', ').map((part) => {
    const [, code = '', meaning = ''] = /^(\d+(?: and \d+)?) (.+)$/.exec(part) ?? [];
    return [code, meaning] as const;
  });
}

/** @returns the page in the macros of man(7) */
export function manPage(): string {
  return `${[
    `.TH ${roff(PROGRAM.toUpperCase())} 1 "" "${roff(`${PROGRAM} ${VERSION}`)}" "User Commands"`,
    ...['.SH NAME', `${roff(PROGRAM)} \\- container images as archives, over HTTP or to a file`],
    ...['.SH SYNOPSIS', `\\fB${roff(PROGRAM)}\\fR [command] [options]`],
    '.SH DESCRIPTION',
    'Gives container images as the archives that docker load and app\\-hosting install take: over HTTP, or to a file.',
    'Without a command it serves.',
    ...['.SH OPTIONS', ...GLOBAL_OPTIONS.flatMap(optionLines)],
    ...['.SH COMMANDS', ...COMMANDS.flatMap(commandLines)],
    ...[
      '.SH EXIT STATUS',
      ...exitCodes().flatMap(([code, meaning]) => ['.TP', code, roff(capital(meaning))]),
    ],
    ...[
      '.SH FILES',
      '.TP',
      '\\fI.env\\fR',
      'Settings of \\fBserve\\fR in the working directory, one variable a line.',
    ],
    ...['.SH SEE ALSO', 'docker(1), podman(1), skopeo(1)'],
  ].join('\n')}\n`;
}
