/**
 * Small faults in a source text, one at a time. Types are blanked out before the text is parsed, and offsets stay, so a
 * mutation never changes a type, a comment or an import.
 */

import { stripTypeScriptTypes } from 'node:module';
import { type AnyNode, type Node, parse, type Token } from 'acorn';

/** One change of one source text. */
export interface Mutation {
  /** Name of the operator that made it. */
  readonly operator: string;
  /** Line of the change, from 1. */
  readonly line: number;
  /** The change with some of its line around it. */
  readonly before: string;
  readonly after: string;
  /** Offsets of the text that goes, and the text that takes its place. */
  readonly start: number;
  readonly end: number;
  readonly text: string;
}

/** What the operators see of a source. */
interface Code {
  readonly source: string;
  readonly tokens: readonly Token[];
}

type Edit = readonly [start: number, end: number, text: string];
type Operator = (node: AnyNode, parent: AnyNode | undefined, code: Code) => readonly Edit[];

const COMPARISONS: Readonly<Record<string, string>> = {
  '<': '<=',
  '<=': '<',
  '>': '>=',
  '>=': '>',
  '===': '!==',
  '!==': '===',
};
const LOGICAL: Readonly<Record<string, string>> = { '&&': '||', '||': '&&' };
const ARITHMETIC: Readonly<Record<string, string>> = { '+': '-', '-': '+', '+=': '-=', '-=': '+=' };

/** Largest number that is raised by 1. One more than a larger one, mostly a time or a size, changes nothing to see. */
const MAX_RAISED = 1000;

/** Most characters of a line that are shown on each side of a change. */
const SHOWN_AROUND = 30;

/** In place of a statement. A lone semicolon as the body of an `if` would be refused by the type checker (TS1313). */
const NO_STATEMENT = '{}';

/** A string that is a code: of an error, of a system call, of a method. */
const CODE = /^[A-Z][A-Z0-9_]*[A-Z0-9]$/;

/** All operators by name. Each gives the edits that it can make at a node. */
const OPERATORS: Readonly<Record<string, Operator>> = {
  'flip comparison': (node, _, code) =>
    node.type === 'BinaryExpression' ? swapped(node, COMPARISONS, code) : [],

  // Equalities and `!` are left to the operators for them: the mutant would be the same.
  'negate condition': (node, _, { source }) => {
    if (node.type !== 'IfStatement' && node.type !== 'ConditionalExpression') return [];
    const { test } = node;
    if (test.type === 'UnaryExpression' && test.operator === '!') return [];
    if (test.type === 'BinaryExpression' && /^[!=]==$/.test(test.operator)) return [];
    return [[test.start, test.end, `!(${source.slice(test.start, test.end)})`]];
  },

  'swap && and ||': (node, _, code) =>
    node.type === 'LogicalExpression' ? swapped(node, LOGICAL, code) : [],

  'swap + and -': (node, parent, code) => {
    if (node.type === 'UpdateExpression' && parent?.type !== 'ForStatement') {
      const at = node.prefix ? node.start : node.end - 2;
      return [[at, at + 2, node.operator === '++' ? '--' : '++']];
    }
    if (node.type !== 'BinaryExpression' && node.type !== 'AssignmentExpression') return [];
    return isText(node.left) || isText(node.right) ? [] : swapped(node, ARITHMETIC, code);
  },

  'remove !': (node) =>
    node.type === 'UnaryExpression' && node.operator === '!' ? [[node.start, node.start + 1, '']] : [],

  'replace number': (node, parent) => {
    if (node.type !== 'Literal' || typeof node.value !== 'number' || isKey(node, parent)) return [];
    const { value } = node;
    const numbers = [...(value <= MAX_RAISED ? [value + 1] : []), ...(value >= 2 ? [0] : [])];
    return numbers.map((number) => [node.start, node.end, String(number)]);
  },

  'remove call': (node) => {
    if (node.type !== 'ExpressionStatement') return [];
    const { expression } = node;
    let called = expression.type === 'AwaitExpression' ? expression.argument : expression;
    if (called.type === 'ChainExpression') called = called.expression;
    return called.type === 'CallExpression' && called.callee.type !== 'Super'
      ? [[node.start, node.end, NO_STATEMENT]]
      : [];
  },

  'return nothing': (node) => {
    const value =
      node.type === 'ReturnStatement' || (node.type === 'ArrowFunctionExpression' && node.expression)
        ? node.type === 'ReturnStatement'
          ? node.argument
          : node.body
        : undefined;
    if (!value || (value.type === 'Literal' && typeof value.value !== 'string')) return [];
    if (value.type === 'Identifier' && value.name === 'undefined') return [];
    if (value.type === 'ArrayExpression') {
      return value.elements.length > 0 ? [[value.start, value.end, '[]']] : [];
    }
    return [[value.start, value.end, isText(value) ? "''" : 'undefined']];
  },

  'swap true and false': (node, parent) =>
    node.type === 'Literal' && typeof node.value === 'boolean' && parent?.type !== 'WhileStatement'
      ? [[node.start, node.end, String(!node.value)]]
      : [],

  'drop ?.': (node, _, code) => {
    const isOptional = (node.type === 'MemberExpression' || node.type === 'CallExpression') && node.optional;
    if (!isOptional) return [];
    const { end } = node.type === 'MemberExpression' ? node.object : node.callee;
    const at = positionOf('?.', end, node.end, code);
    return [[at, at + 2, node.type === 'MemberExpression' && !node.computed ? '.' : '']];
  },

  'drop right of ??': (node, _, code) =>
    node.type === 'LogicalExpression' && node.operator === '??'
      ? [[positionOf('??', node.left.end, node.right.start, code), node.end, '']]
      : [],

  'drop if … throw': (node) => {
    if (node.type !== 'IfStatement' || node.alternate) return [];
    const { consequent } = node;
    const [first] = consequent.type === 'BlockStatement' ? consequent.body : [consequent];
    return first?.type === 'ThrowStatement' ? [[node.start, node.end, NO_STATEMENT]] : [];
  },

  'change code': (node, parent) =>
    node.type === 'Literal' && typeof node.value === 'string' && CODE.test(node.value) && !isKey(node, parent)
      ? [[node.start, node.end, `'${node.value}_'`]]
      : [],
};

/** Names of the operators. */
export const OPERATOR_NAMES: readonly string[] = Object.keys(OPERATORS);

/**
 * Every mutation that the operators can make of a source, in the order of the text.
 *
 * @param source text of a TypeScript module with erasable types
 * @throws SyntaxError when it cannot be parsed
 */
export function mutationsOf(source: string): Mutation[] {
  const { program, tokens } = parseTypeScript(source);
  const code = { source, tokens };
  const found: Mutation[] = [];
  const visit = (node: AnyNode, parent?: AnyNode): void => {
    for (const [operator, edits] of Object.entries(OPERATORS)) {
      for (const edit of edits(node, parent, code)) found.push(mutation(operator, edit, source));
    }
    for (const child of childrenOf(node)) visit(child, node);
  };
  visit(program);
  return found.sort((one, other) => one.start - other.start);
}

/** The source with a mutation in it. */
export function mutated(source: string, { start, end, text }: Mutation): string {
  return source.slice(0, start) + text + source.slice(end);
}

/** Whether a text is a module: what is no module cannot be loaded, and tests nothing. */
export function isModule(source: string): boolean {
  try {
    parseTypeScript(source);
    return true;
  } catch {
    return false;
  }
}

/** Number of lines of a source that hold code: neither types alone nor comments. */
export function codeLines(source: string): number {
  const { tokens } = parseTypeScript(source);
  return new Set(tokens.map(({ start }) => lineOf(source, start))).size;
}

function parseTypeScript(source: string) {
  const tokens: Token[] = [];
  const code = stripTypeScriptTypes(source, { mode: 'strip' });
  const program = parse(code, { ecmaVersion: 'latest', sourceType: 'module', onToken: tokens });
  return { program, tokens };
}

function mutation(operator: string, [start, end, text]: Edit, source: string): Mutation {
  const from = Math.max(source.lastIndexOf('\n', start - 1) + 1, start - SHOWN_AROUND);
  const lineEnd = source.indexOf('\n', end);
  const to = Math.min(lineEnd === -1 ? source.length : lineEnd, end + SHOWN_AROUND);
  return {
    operator,
    line: lineOf(source, start),
    before: source.slice(from, to),
    after: source.slice(from, start) + text + source.slice(end, to),
    start,
    end,
    text,
  };
}

function lineOf(source: string, offset: number): number {
  return source.slice(0, offset).split('\n').length;
}

/** Exchanges the operator of an expression for the one that the table has for it. */
function swapped(
  { left, right, operator }: { readonly left: Node; readonly right: Node; readonly operator: string },
  table: Readonly<Record<string, string>>,
  code: Code,
): Edit[] {
  const other = table[operator];
  if (other === undefined) return [];
  const at = positionOf(operator, left.end, right.start, code);
  return [[at, at + operator.length, other]];
}

/** Offset of the first token with this text in a part of the code: a comment there may hold the same text. */
function positionOf(text: string, from: number, to: number, { source, tokens }: Code): number {
  const token = tokens.find(
    ({ start, end }) => start >= from && end <= to && source.slice(start, end) === text,
  );
  if (token === undefined) throw new Error(`Cannot find "${text}" in "${source.slice(from, to)}"`);
  return token.start;
}

/** Whether an expression is a string for sure. */
function isText(node: AnyNode): boolean {
  if (node.type === 'BinaryExpression') return isText(node.left) || isText(node.right);
  return node.type === 'TemplateLiteral' || (node.type === 'Literal' && typeof node.value === 'string');
}

/** Whether a literal is the name of a property or of a module. */
function isKey(node: AnyNode, parent: AnyNode | undefined): boolean {
  return parent !== undefined && (('key' in parent && parent.key === node) || 'source' in parent);
}

function childrenOf(node: AnyNode): AnyNode[] {
  return Object.values(node).flat().filter(isNode);
}

function isNode(value: unknown): value is AnyNode {
  return typeof value === 'object' && value !== null && 'type' in value && 'start' in value;
}
