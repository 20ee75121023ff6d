/**
 * The code of an error of Node or of the operating system.
 *
 * @returns such as `ENOENT` or `ERR_PARSE_ARGS_UNKNOWN_OPTION`; `undefined` for an error without one
 * @see https://nodejs.org/api/errors.html#errorcode
 */
export function systemErrorCode(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}
