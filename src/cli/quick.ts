import { COMMIT, VERSION } from '../version.ts';
import { PROGRAM } from './command.ts';
import { COMMANDS } from './commands.ts';
import { commandHelp, generalHelp } from './help.ts';
import { findCommand } from './options/find-command.ts';
import { readLine } from './options/line.ts';

/**
 * Answers `--version`, `--help` and `help`. The build puts this module and what it imports into one file, so that nothing else is
 * loaded for these answers.
 *
 * @param args without Node and the program
 * @returns the text; `undefined` for a line that asks for something else or is wrong, which `run.ts` deals with
 */
export function quickAnswer(args: readonly string[]): string | undefined {
  try {
    const { command, isNamed, options, positionals } = readLine(args, COMMANDS);
    if (options.has('version'))
      return `${PROGRAM} ${VERSION} (Node.js ${process.version}, commit ${COMMIT})\n`;
    if (options.has('help') && isNamed) return commandHelp(command);
    if (!options.has('help') && command.name !== 'help') return undefined;
    const [name, ...more] = positionals;
    if (more.length > 0) return undefined;
    return name === undefined ? generalHelp(COMMANDS) : commandHelp(findCommand(name, COMMANDS));
  } catch {
    return undefined;
  }
}
