/**
 * `npm run docs:errors`: writes the errors of docs/errors.md from the tables of the code: status and title (`http/problem.ts`), exit
 * code (`cli/output/error-lines.ts`), and the texts of `error-texts.ts`. A test compares the page with them.
 */

import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { exitCodeOf } from '../../src/cli/output/error-lines.ts';
import { type ErrorCode, PassthroughError } from '../../src/errors.ts';
import { PROBLEMS } from '../../src/http/problem.ts';
import { ERROR_TEXTS, type ErrorText } from './error-texts.ts';

const PAGE = join(import.meta.dirname, '..', '..', 'docs', 'errors.md');

/** The lines around what is written. */
const MARKS = ['<!-- Written by npm run docs:errors -->\n', '<!-- End of the written errors -->\n'] as const;

/** Columns of a paragraph. */
const WIDTH = 120;

/** Codes in the order of the page: by status, then as the table of the service has them. */
function codes(): readonly ErrorCode[] {
  const all = Object.keys(PROBLEMS) as ErrorCode[];
  return all.toSorted((one, other) => PROBLEMS[one].status - PROBLEMS[other].status);
}

/**
 * The text of a code.
 *
 * @throws Error when the code has none
 */
export function textOf(code: ErrorCode, texts: Readonly<Partial<Record<ErrorCode, ErrorText>>>): ErrorText {
  const text = texts[code];
  if (text === undefined) {
    throw new Error(
      `Cannot describe the error ${code}: add its row to ERROR_TEXTS in scripts/docs/error-texts.ts, then run npm run docs:errors`,
    );
  }
  return text;
}

/** Text as lines of at most {@link WIDTH} columns. */
function wrap(text: string): string {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > WIDTH) {
      lines.push(line);
      line = word;
    } else {
      line = line === '' ? word : `${line} ${word}`;
    }
  }
  return [...lines, line].join('\n');
}

function sectionOf(code: ErrorCode): string {
  const { status, title } = PROBLEMS[code];
  const { means, remedy } = textOf(code, ERROR_TEXTS);
  const exit = exitCodeOf(new PassthroughError(code, ''));
  // 1 is the exit code of all failures that scripts need not tell apart.
  const exitText = exit === 1 ? '' : `, exit code ${exit} of the [command line](command-line.md#exit-codes)`;
  return [
    `### ${code}`,
    '',
    `\`${status} ${title}\`${exitText}`,
    '',
    wrap(means),
    '',
    wrap(`**What to do:** ${remedy}`),
    '',
    '',
  ].join('\n');
}

/** The table of all errors, and a section for each of them. */
export function errorSections(): string {
  const rows = codes().map((code) => {
    const { status, title } = PROBLEMS[code];
    return `| ${status} | ${title} | [\`${code}\`](#${code.toLowerCase()}) |`;
  });
  const table = ['| status | title | code |', '|---|---|---|', ...rows, '', ''].join('\n');
  return `\n${table}${codes().map(sectionOf).join('')}`;
}

/**
 * The page with the errors of today.
 *
 * @param page docs/errors.md
 * @throws Error when its marks are missing, or a code has no text
 */
export function errorsPage(page: string): string {
  const [start, end] = MARKS.map((mark) => page.indexOf(mark));
  if (start === undefined || end === undefined || start < 0 || end < start) {
    throw new Error('Cannot find the marks of npm run docs:errors in docs/errors.md');
  }
  return `${page.slice(0, start)}${MARKS[0]}${errorSections()}${page.slice(end)}`;
}

if (import.meta.main) {
  await writeFile(PAGE, errorsPage(await readFile(PAGE, 'utf8')));
}
