import { readFile } from 'node:fs/promises';
import { PassthroughError } from '../../errors.ts';
import type { BasicCredentials } from '../../registry/auth/credentials.ts';
import { quoted } from '../../util/printable.ts';
import { misuse, type ParsedOptions } from './parse.ts';

/** Longest password on standard input, in bytes: a token has some kilobytes. */
const MAX_PASSWORD_BYTES = 64 * 1024;

/**
 * Reads `--user` with `--password` or `--password-stdin`.
 *
 * @returns `undefined` if the command line has none
 * @throws PassthroughError `INVALID_CONFIGURATION` if one is there without the other
 */
export async function readCredentials(options: ParsedOptions): Promise<BasicCredentials | undefined> {
  checkCredentials(options);
  const username = options.text('user');
  if (username === undefined) return undefined;
  const password = options.has('password-stdin')
    ? await passwordFromInput()
    : (options.text('password') ?? '');
  return { username, password };
}

/** @throws PassthroughError `INVALID_CONFIGURATION` */
export function checkCredentials(options: ParsedOptions): void {
  const isFromInput = options.has('password-stdin');
  const isPassword = options.has('password') || isFromInput;
  if (options.has('password') && isFromInput)
    throw misuse('Cannot use --password: --password-stdin is given, too');
  if (!options.has('user') && isPassword)
    throw misuse('Cannot use a password: its user name is missing', 'Give --user');
  if (options.has('user') && !isPassword)
    throw misuse('Cannot use --user: the password is missing', 'Give --password-stdin or --password');
  if (options.text('user')?.includes(':') === true)
    throw misuse('Cannot use --user: it has a colon, at which Basic ends a user name');
}

/** Without the line end that `echo` and editors add. */
async function passwordFromInput(): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of process.stdin) {
    const bytes: Uint8Array = chunk;
    size += bytes.byteLength;
    if (size > MAX_PASSWORD_BYTES) throw misuse('Cannot read the password: standard input is too long');
    chunks.push(bytes);
  }
  const password = Buffer.concat(chunks)
    .toString('utf8')
    .replace(/\r?\n$/, '');
  if (password === '') throw misuse('Cannot read the password: standard input is empty');
  return password;
}

/**
 * Reads the file of an option.
 *
 * @param option such as `--cacert`
 * @throws PassthroughError `INVALID_CONFIGURATION`
 */
export async function readOptionFile(option: string, path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new PassthroughError('INVALID_CONFIGURATION', `Cannot use ${option}=${quoted(path)}: ${why}`, {
      cause: error,
    });
  }
}
