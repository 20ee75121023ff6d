import type { Command } from '../command.ts';
import { findCommand } from './find-command.ts';
import { type ParsedLine, parseLine } from './parse.ts';
import { GLOBAL_OPTIONS } from './specs.ts';

/** A command line with its command. */
export interface CommandLine extends ParsedLine {
  readonly command: Command;
  /** Whether the line names the command; else it is the first one of the table. */
  readonly isNamed: boolean;
}

/**
 * Reads a command line: the command comes first.
 *
 * @param args without Node and the program
 * @throws PassthroughError `INVALID_CONFIGURATION` for an unknown command, and as {@link parseLine}
 */
export function readLine(args: readonly string[], commands: readonly Command[]): CommandLine {
  const [first] = args;
  const isNamed = first !== undefined && !first.startsWith('-');
  const command = findCommand(isNamed ? first : (commands[0]?.name ?? ''), commands);
  const specs = [...command.options, ...GLOBAL_OPTIONS];
  return { command, isNamed, ...parseLine(isNamed ? args.slice(1) : args, specs) };
}
