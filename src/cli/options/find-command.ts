import { quoted } from '../../util/printable.ts';
import { nearest } from '../../util/text/nearest.ts';
import { type Command, PROGRAM } from '../command.ts';
import { editsOf, misuse } from './parse.ts';

/**
 * Finds a command by its name.
 *
 * @throws PassthroughError `INVALID_CONFIGURATION` with the nearest name
 */
export function findCommand(name: string, commands: readonly Command[]): Command {
  const found = commands.find((command) => command.name === name);
  if (found !== undefined) return found;
  const meant = nearest(
    name.toLowerCase(),
    commands.map((command) => command.name),
    editsOf,
  );
  throw misuse(`Unknown command ${quoted(name)}`, hintFor(name, meant));
}

function hintFor(name: string, meant: string | undefined): string {
  if (meant !== undefined) return `Did you mean ${meant}?`;
  if (/[/:@]/.test(name)) return `An image is pulled by: ${PROGRAM} pull REF FILE`;
  return `See ${PROGRAM} --help for the commands`;
}
