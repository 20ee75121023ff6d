/**
 * `npm run configuration`: writes what other files say about variables from the table of docs/configuration.md: `.env.example`, and
 * the list of variables that compose.yaml passes on.
 */

import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

const ROOT = join(import.meta.dirname, '..');

/** Columns of a comment in `.env.example`. */
const WIDTH = 100;

/** What compose.yaml sets for the container itself, and paths of this machine, which the container does not have. */
const NOT_PASSED_ON: ReadonlySet<string> = new Set([
  'CACHE_DIR',
  'HTTP_HOST',
  'HTTP_PORT',
  'NODE_EXTRA_CA_CERTS',
  'REGISTRY_CERTS_DIR',
  'WORKSPACE_DIR',
]);

/** The lines around the list in compose.yaml. */
const MARKS = [
  '      # Passed on if set: npm run configuration',
  '      # End of the variables that are passed on',
] as const;

/** A row of the table. */
interface Row {
  readonly names: readonly string[];
  readonly otherwise: string;
  readonly meaning: string;
}

/** The rows of the table of variables. */
function rowsOf(page: string): readonly Row[] {
  const table = page.slice(page.indexOf('| variable | default | meaning |')).split('\n\n')[0] ?? '';
  return table
    .split('\n')
    .slice(2)
    .map((line) => {
      const [, names = '', otherwise = '', meaning = ''] = line.split('|').map((cell) => cell.trim());
      return { names: [...names.matchAll(/`([^`]+)`/g)].map(([, name = '']) => name), otherwise, meaning };
    });
}

/** Markdown as plain text. */
function plain(text: string): string {
  return text.replaceAll(/\[([^\]]+)\]\([^)]+\)/g, '$1').replaceAll('`', '');
}

function capital(text: string): string {
  return text.slice(0, 1).toUpperCase() + text.slice(1);
}

function commentOf(text: string): string[] {
  const lines = ['#'];
  for (const word of text.split(' ')) {
    const last = lines.at(-1) ?? '';
    if (last.length + 1 + word.length > WIDTH) lines.push(`# ${word}`);
    else lines[lines.length - 1] = `${last} ${word}`;
  }
  return lines;
}

/**
 * The text of `.env.example`: each variable, commented out, with its default and its meaning.
 *
 * @param page docs/configuration.md
 */
export function envExample(page: string): string {
  const rows = rowsOf(page).flatMap(({ names, otherwise, meaning }) => [
    '',
    ...commentOf(`${capital(plain(meaning))}. Default: ${plain(otherwise)}.`),
    // A default in words is no value.
    ...names.map((name) => `#${name}=${/^`([^`]+)`$/.exec(otherwise)?.[1] ?? ''}`),
  ]);
  return [
    '# Settings of the service: copy this file to .env, and take the # from the lines to change. npm run configuration writes it',
    '# from docs/configuration.md.',
    ...rows,
    '',
  ].join('\n');
}

/**
 * compose.yaml with the variables of the table.
 *
 * @param page docs/configuration.md
 * @throws Error when the marks of the list are missing
 */
export function composeFile(compose: string, page: string): string {
  const [start, end] = MARKS.map((mark) => compose.indexOf(`${mark}\n`));
  if (start === undefined || end === undefined || start < 0 || end < start) {
    throw new Error('Cannot find the list of variables in compose.yaml');
  }
  const names = rowsOf(page)
    .flatMap((row) => row.names)
    .filter((name) => !NOT_PASSED_ON.has(name) && !name.endsWith('_FILE'));
  const list = names.map((name) => `      - ${name}\n`).join('');
  return `${compose.slice(0, start)}${MARKS[0]}\n${list}${compose.slice(end)}`;
}

if (import.meta.main) {
  const page = await readFile(join(ROOT, 'docs', 'configuration.md'), 'utf8');
  const path = join(ROOT, 'compose.yaml');
  await writeFile(join(ROOT, '.env.example'), envExample(page));
  await writeFile(path, composeFile(await readFile(path, 'utf8'), page));
}
