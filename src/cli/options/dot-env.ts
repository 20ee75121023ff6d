import { readFile } from 'node:fs/promises';
import { getSystemErrorMessage } from 'node:util';
import { parseDotEnv } from '../../config/dot-env.ts';
import { systemErrorCode } from '../../util/system-error.ts';
import { misuse } from './parse.ts';

/**
 * Adds the variables of `.env` in the working directory, unless they are set already. The file may be missing.
 *
 * @returns warnings about the file, see `DotEnv.warnings`
 * @throws PassthroughError `INVALID_CONFIGURATION` for what is no file that can be read
 */
export async function loadDotEnv(environment: NodeJS.ProcessEnv): Promise<readonly string[]> {
  const bytes = await readFile('.env').catch((error: unknown) => {
    const code = systemErrorCode(error);
    if (code === 'ENOENT') return undefined;
    throw misuse(`Cannot read .env in the working directory: ${reasonOf(error, code)}`);
  });
  if (bytes === undefined) return [];
  const { variables, warnings } = parseDotEnv(bytes, (name) => environment[name] !== undefined);
  for (const [name, value] of Object.entries(variables)) environment[name] ??= value;
  return warnings;
}

function reasonOf(error: unknown, code = ''): string {
  if (code === 'EISDIR') return 'it is a folder';
  const hasNumber = error instanceof Error && 'errno' in error && typeof error.errno === 'number';
  return hasNumber ? `${getSystemErrorMessage(Number(error.errno))} (${code})` : String(error);
}
