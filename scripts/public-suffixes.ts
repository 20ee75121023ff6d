/**
 * `npm run suffixes`: writes `src/registry/auth/public-suffixes.ts`, the rules of the Public Suffix List.
 *
 * The rules come from the dev dependency `tldts`, which is released within days of a change of the list. Its own code is not used
 * at run time: the service has no dependency but OpenTelemetry. After an update of `tldts` the file is written anew;
 * `test/scripts/public-suffixes.test.ts` fails until then.
 */

import { writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { domainToASCII } from 'node:url';

/** The file that holds the rules. */
export const SUFFIXES_FILE = join(import.meta.dirname, '..', 'src', 'registry', 'auth', 'public-suffixes.ts');

/** Characters of a line, at least, where it has several groups: 500 groups then take less than the 300 lines of a source file. */
const LINE_LENGTH = 300;

/** The trie of tldts: a node's edges lie from `edgeStart[node]` to `edgeStart[node + 1]`, their labels one after the other. */
interface Trie {
  /** Not 0 for a node that ends a rule. */
  readonly nodeFlags: Uint8Array;
  readonly edgeStart: Uint16Array;
  readonly edgeLength: Uint8Array;
  readonly edgeChild: Uint16Array;
  readonly labelText: string;
  readonly rulesRoot: number;
  readonly exceptionsRoot: number;
}

/** Reads the rules: `co.uk`, `*.ck`, and exceptions as `!www.ck`. */
function readRules(): readonly string[] {
  // Only its CommonJS form names its modules with their endings, as Node wants them.
  const trie: Trie = createRequire(import.meta.url)('tldts/dist/cjs/src/data/trie.js');
  const offsets: number[] = [];
  let offset = 0;
  for (const length of trie.edgeLength) {
    offsets.push(offset);
    offset += length;
  }
  const below = (node: number, parent: string): string[] => {
    const rules: string[] = [];
    for (let edge = trie.edgeStart[node] ?? 0; edge < (trie.edgeStart[node + 1] ?? 0); edge += 1) {
      const start = offsets[edge] ?? 0;
      const label = trie.labelText.slice(start, start + (trie.edgeLength[edge] ?? 0));
      const child = trie.edgeChild[edge] ?? 0;
      const name = parent === '' ? label : `${label}.${parent}`;
      if (trie.nodeFlags[child] !== 0) rules.push(name);
      rules.push(...below(child, name));
    }
    return rules;
  };
  return [
    ...below(trie.rulesRoot, '').map(toAscii),
    ...below(trie.exceptionsRoot, '').map((rule) => `!${toAscii(rule)}`),
  ];
}

/** The form in which `URL.hostname` has a name. */
function toAscii(rule: string): string {
  const name = rule.replace(/^\*\./, '');
  const ascii = domainToASCII(name);
  if (ascii === '') throw new Error(`Cannot write rule ${JSON.stringify(rule)}: it is no domain name`);
  return rule.startsWith('*.') ? `*.${ascii}` : ascii;
}

/**
 * The text of {@link SUFFIXES_FILE}. Rules of one label are left out: a name that no rule matches has such a suffix anyway.
 *
 * @throws Error when tldts has another form than expected, so that rules are missing
 */
export function suffixesText(): string {
  const all = readRules();
  for (const known of ['com', 'co.uk', '*.ck', '!www.ck', 'github.io']) {
    if (!all.includes(known)) throw new Error(`Cannot read the rules of tldts: ${known} is missing`);
  }
  const groups = Map.groupBy(new Set(all), (rule) => rule.slice(rule.lastIndexOf('.') + 1));
  const lines = [''];
  for (const [top, rules] of [...groups].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const below = rules.flatMap((rule) => (rule.includes('.') ? rule.slice(0, -top.length - 1) : []));
    if (below.length === 0) continue;
    if ((lines.at(-1) ?? '').length >= LINE_LENGTH) lines.push('');
    lines[lines.length - 1] += `;${[top, ...below.sort()].join(' ')}`;
  }
  return `/*!
 * Rules of the Public Suffix List, https://publicsuffix.org/list/, under the Mozilla Public License 2.0,
 * https://mozilla.org/MPL/2.0/. Written by \`npm run suffixes\`: do not edit.
 */

/**
 * The rules of more than one label, of both sections, by top-level domain: \`;uk co *.sch\` means \`co.uk\` and \`*.sch.uk\`. Exceptions
 * begin with \`!\`. Names are in the form of \`URL.hostname\`.
 *
 * @see https://github.com/publicsuffix/list/wiki/Format
 */
export const PUBLIC_SUFFIXES = \`
${lines.join('\n')};
\`;
`;
}

if (import.meta.main) await writeFile(SUFFIXES_FILE, suffixesText());
