import { VARIABLES } from '../../config/variables.ts';
import { isPassthroughError, PassthroughError } from '../../errors.ts';
import type { ParsedOptions } from './parse.ts';

/** Options that stand for a variable. */
const OPTIONS = [
  ['port', VARIABLES.port],
  ['host', VARIABLES.host],
] as const;

/**
 * Runs with `--port` and `--host` in place of their variables. An error names the option where one was given.
 *
 * @param environment `process.env`, which gets the values
 */
export async function useListenOptions<T>(
  options: ParsedOptions,
  environment: NodeJS.ProcessEnv,
  run: () => T | Promise<T>,
): Promise<T> {
  const given = OPTIONS.filter(([name]) => options.has(name));
  for (const [name, variable] of given) environment[variable] = options.text(name);
  try {
    return await run();
  } catch (error) {
    if (!isPassthroughError(error, 'INVALID_CONFIGURATION')) throw error;
    const message = given.reduce(
      (text, [name, variable]) => text.replace(`${variable}=`, `--${name}=`),
      error.message,
    );
    throw new PassthroughError(error.code, message, { ...error.details, cause: error.cause });
  }
}
