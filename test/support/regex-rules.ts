/**
 * Regular expressions whose time grows faster than their text. A request header has up to 32 KiB: what is quadratic takes half a
 * second of the event loop for it, and all other clients wait.
 */

import { stripTypeScriptTypes } from 'node:module';
import { type AnyNode, parse } from 'acorn';
import { analyse } from 'scslre';
import type { Violation } from './source-rules.ts';

/** Stands for what a template puts into a pattern: our own constants. */
const CONSTANT = '1';

/** A regular expression of a source text. */
interface Pattern {
  readonly line: number;
  readonly flags: string;
  /** `undefined` if the source text does not tell. */
  readonly source: string | undefined;
}

/**
 * Check the regular expressions of one file: literals, and calls of `RegExp`.
 *
 * @param path of the file, for the message
 * @param source its text
 * @returns a line for each expression with a backtracking or a search that is not linear, or that cannot be read
 * @see https://github.com/RunDevelopment/scslre#report-types
 */
export function checkRegexes(path: string, source: string): Violation[] {
  return patternsOf(source).flatMap(({ line, flags, source: pattern }) => {
    const at = `${path}:${line}`;
    if (pattern === undefined) return [`${at}: the pattern of a RegExp is no literal`];
    const { reports } = analyse({ source: pattern, flags });
    const kinds = [...new Set(reports.map(({ type }) => type))];
    return kinds.map((kind) => `${at}: /${pattern}/${flags} is not linear (${kind})`);
  });
}

/** Number of regular expressions of a source text. */
export function countRegexes(source: string): number {
  return patternsOf(source).length;
}

function patternsOf(source: string): readonly Pattern[] {
  const found: Pattern[] = [];
  const code = stripTypeScriptTypes(source);
  const options = {
    ecmaVersion: 'latest',
    sourceType: 'module',
    allowHashBang: true,
    locations: true,
  } as const;
  const visit = (node: AnyNode): void => {
    const line = node.loc?.start.line ?? 0;
    if (node.type === 'Literal' && node.regex != null) {
      found.push({ line, source: node.regex.pattern, flags: node.regex.flags });
    }
    if ((node.type === 'NewExpression' || node.type === 'CallExpression') && isRegExp(node.callee)) {
      const [pattern, flags] = node.arguments;
      found.push({ line, source: textOf(pattern), flags: textOf(flags) ?? '' });
    }
    for (const child of childrenOf(node)) visit(child);
  };
  visit(parse(code, options));
  return found;
}

function isRegExp(node: AnyNode): boolean {
  return node.type === 'Identifier' && node.name === 'RegExp';
}

function textOf(node: AnyNode | undefined): string | undefined {
  if (node?.type === 'Literal' && typeof node.value === 'string') return node.value;
  if (node?.type !== 'TemplateLiteral') return undefined;
  return node.quasis.map(({ value }) => value.cooked ?? value.raw).join(CONSTANT);
}

function childrenOf(node: AnyNode): readonly AnyNode[] {
  return Object.values(node).flatMap((value: unknown) => [value].flat().filter(isNode));
}

function isNode(value: unknown): value is AnyNode {
  return typeof value === 'object' && value !== null && 'type' in value && typeof value.type === 'string';
}
