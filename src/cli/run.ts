import { quoted } from '../util/printable.ts';
import { type Command, PROGRAM } from './command.ts';
import { COMMANDS } from './commands.ts';
import { findCommand } from './options/find-command.ts';
import { readLine } from './options/line.ts';
import { misuse } from './options/parse.ts';
import { complain, exitCodeOf } from './output/error-lines.ts';

/**
 * Runs a command. `quick.ts` has answered what asks for help or version.
 *
 * @param args without Node and the program
 * @param environment `process.env`
 * @returns the exit code; errors are on standard error then
 */
export async function run(args: readonly string[], environment: NodeJS.ProcessEnv): Promise<number> {
  try {
    const { command, isNamed, options, positionals } = readLine(args, COMMANDS);
    const [first] = positionals;
    if (!isNamed && first !== undefined) {
      const { name } = findCommand(first, COMMANDS);
      throw misuse(
        `Cannot use ${quoted(args[0] ?? '')}: the command comes first`,
        `Begin with: ${PROGRAM} ${name}`,
      );
    }
    checkArity(command, positionals);
    const warnings = command.readsDotEnv === true ? await readDotEnv(environment) : [];
    const { run: runCommand } = await command.load();
    return await runCommand({ options, positionals, environment, warnings, commands: COMMANDS });
  } catch (error) {
    await complain(error);
    return exitCodeOf(error);
  }
}

function checkArity({ name, operands, arity: [min, max] }: Command, positionals: readonly string[]): void {
  if (positionals.length >= min && positionals.length <= max) return;
  const usage = `Usage: ${[PROGRAM, name, operands].join(' ').trim()}`;
  if (positionals.length < min) throw misuse(`Cannot run ${name}: ${operands} is missing`, usage);
  throw misuse(`Cannot run ${name}: ${quoted(positionals[max] ?? '')} is one operand too many`, usage);
}

async function readDotEnv(environment: NodeJS.ProcessEnv): Promise<readonly string[]> {
  const { loadDotEnv } = await import('./options/dot-env.ts');
  return await loadDotEnv(environment);
}
