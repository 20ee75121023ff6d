import { PassthroughError } from '../errors.ts';
import { repositoryFault, tagFault } from './reference.ts';

/** What a file name asks for. */
export interface ImageFilename {
  readonly repository: string;
  readonly tag: string;
}

const EXTENSION = '.tar';

/**
 * Reads the file name of an archive.
 *
 *     filename ::= path "_" tag ".tar"       ; the last "_" separates
 *     path     ::= component ( "__" component )+ | component "_" component | component
 *
 * With a double underscore anywhere in the path, each double one is `/` and a single one stands for itself. With
 * none, one single underscore is `/`. With none and several single ones, all stand for themselves: there is no telling
 * which of them would have been the `/`.
 *
 * @param filename the decoded last segment of a request path
 * @param defaultNamespace put before a path of one component; empty for none
 * @throws PassthroughError `INVALID_FILENAME` naming the rule that broke
 */
export function parseFilename(filename: string, defaultNamespace: string): ImageFilename {
  const fail = (why: string) =>
    new PassthroughError('INVALID_FILENAME', `Cannot parse filename ${JSON.stringify(filename)}: ${why}`);

  if (!filename.endsWith(EXTENSION)) throw fail(`it must end in ${EXTENSION}`);
  const stem = filename.slice(0, -EXTENSION.length);
  const separator = stem.lastIndexOf('_');
  if (separator === -1) throw fail('no underscore separates image and tag');

  const tag = stem.slice(separator + 1);
  const path = repositoryPath(stem.slice(0, separator));
  const repository = !path.includes('/') && defaultNamespace !== '' ? `${defaultNamespace}/${path}` : path;
  const fault = path === '' ? 'image is empty' : (repositoryFault(repository) ?? tagFault(tag));
  if (fault !== undefined) throw fail(fault);
  return { repository, tag };
}

function repositoryPath(image: string): string {
  if (image.includes('__')) return image.replaceAll('__', '/');
  return image.split('_').length === 2 ? image.replace('_', '/') : image;
}

/**
 * Writes the file name that {@link parseFilename} reads back.
 *
 * @param image repository in full, and tag
 * @returns `undefined` where the grammar cannot say it: an underscore in the tag, or in a place of the path where it
 *   would be read as `/`
 */
export function formatFilename(image: ImageFilename): string | undefined {
  const filename = `${image.repository.replaceAll('/', '__')}_${image.tag}${EXTENSION}`;
  try {
    const back = parseFilename(filename, '');
    return back.repository === image.repository && back.tag === image.tag ? filename : undefined;
  } catch {
    return undefined;
  }
}
