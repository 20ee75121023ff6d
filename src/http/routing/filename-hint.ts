import { isPassthroughError, PassthroughError } from '../../errors.ts';
import { parseEnding } from '../../image/filename.ts';

/** A name whose only underscore may stand in the image as well as before the tag. */
const AMBIGUOUS = /^(?<image>[^_]+)_(?<tag>[^_=]+)$/;

/**
 * Adds how a filename was read to the error for an image that is not there: `lab_hello.tar` is the tag `hello` of `lab`, and some
 * mean `lab/hello`.
 *
 * @param filename of the request
 * @returns the error with a hint; any other error as it is
 */
export function withFilenameHint(error: unknown, filename: string): unknown {
  if (!isPassthroughError(error, 'IMAGE_NOT_FOUND') || error.details.base !== undefined) return error;
  const { stem, archiveName } = parseEnding(filename);
  const { image, tag } = AMBIGUOUS.exec(stem)?.groups ?? {};
  if (image === undefined || tag === undefined) return error;
  const latest = `${stem}_latest${archiveName.slice(stem.length)}`;
  const hint = `${archiveName} is the tag ${tag} of ${image}; the latest ${image}/${tag} is written ${latest}`;
  const { message, details, cause } = error;
  return new PassthroughError(error.code, message, {
    ...details,
    hints: [...(details.hints ?? []), hint],
    cause,
  });
}
