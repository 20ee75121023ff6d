import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { chooseMutants, shareOut } from '../../scripts/check/mutants/choose-mutants.ts';
import {
  codeLines,
  isModule,
  mutated,
  mutationsOf,
  OPERATOR_NAMES,
} from '../../scripts/check/mutants/mutate.ts';

/** What each operator makes of a source that only this operator is looked at for. */
const MUTANTS: readonly [operator: string, source: string, mutants: readonly string[]][] = [
  ['flip comparison', 'f(a < b);', ['f(a <= b);']],
  ['flip comparison', 'f(a >= b);', ['f(a > b);']],
  ['flip comparison', 'f((a /* === */) === b);', ['f((a /* === */) !== b);']],
  ['flip comparison', 'f((a as A<B>) < b);', ['f((a as A<B>) <= b);']],
  ['flip comparison', 'f(a < b === c);', ['f(a <= b === c);', 'f(a < b !== c);']],
  ['flip comparison', 'f(a in b, a instanceof b, a + b);', []],

  ['negate condition', 'if (a && b) f();', ['if (!(a && b)) f();']],
  ['negate condition', 'f(a < 1 ? b : c);', ['f(!(a < 1) ? b : c);']],
  ['negate condition', 'if (!a) f(b === c ? 1 : 2); while (a) f();', []],

  ['swap && and ||', 'f(a && b || c);', ['f(a || b || c);', 'f(a && b && c);']],
  ['swap && and ||', 'f(a ?? b);', []],

  ['swap + and -', 'a = b + c - d;', ['a = b - c - d;', 'a = b + c + d;']],
  ['swap + and -', 'a += 1; b -= 1; c++; --d;', ['-=', '+=', '--', '++']],
  ['swap + and -', "f('a' + b, `a` + b, a + '' + b, a * b); a += 'b'; for (;; a++) f();", []],

  ['remove !', 'f(!a, a != b);', ['f(a, a != b);']],

  ['replace number', 'f(7);', ['f(8);', 'f(0);']],
  ['replace number', 'f(1);', ['f(2);']],
  ['replace number', 'f(60_000);', ['f(0);']],
  ['replace number', "f({ 1: a }, '2', 3n);", []],

  ['remove call', 'f(a); await a.b(); a?.();', ['{} await', 'f(a); {} a', 'b(); {}']],
  ['remove call', 'class A extends B { constructor() { super(); } } a = f(); a;', []],

  ['return nothing', 'const f = (): A => a;', ['const f = (): A => undefined;']],
  ['return nothing', 'const f = () => ({ a });', ['const f = () => (undefined);']],
  ['return nothing', 'function f() { return [a]; }', ['function f() { return []; }']],
  ['return nothing', "function f() { return 'a'; }", ["function f() { return ''; }"]],
  ['return nothing', 'function f() { return a as A; }', ['function f() { return undefined as A; }']],
  ['return nothing', 'const f = () => { if (a) return; return undefined; }; g = () => [];', []],

  ['swap true and false', 'f({ a: true });', ['f({ a: false });']],
  ['swap true and false', "while (true) f('false');", []],

  ['drop ?.', 'f(a?.b);', ['f(a.b);']],
  ['drop ?.', 'f(a?.[0], a?.(b));', ['a[0]', 'a(b)']],
  ['drop ?.', 'f(a ? .1 : a.b);', []],

  ['drop right of ??', 'f((a ?? b) ?? (c as A));', ['f((a ) ?? (c as A));', 'f((a ?? b) );']],

  ['drop if … throw', "if (a) throw new Error('a');", ['{}']],
  ['drop if … throw', 'if (a) { throw b; }', ['{}']],
  ['drop if … throw', 'if (a) throw b; else c(); if (a) { c(); throw b; }', []],

  ['change code', "f('ENOENT', 'GET');", ["f('ENOENT_', 'GET');", "f('ENOENT', 'GET_');"]],
  ['change code', "import a from 'AB'; f('text', 'A', { 'AB': 1 });", []],
];

describe('an operator', () => {
  for (const [operator, source, expected] of MUTANTS) {
    test(`${operator}: ${source}`, () => {
      const mutations = mutationsOf(source).filter((mutation) => mutation.operator === operator);
      const mutants = mutations.map((mutation) => mutated(source, mutation));
      assert.equal(mutants.length, expected.length, mutants.join('\n'));
      for (const [index, mutant] of mutants.entries()) {
        // One mutant of several is named by the part that changes.
        assert.ok(mutant.includes(expected[index] ?? ''), mutant);
        assert.ok(isModule(mutant), mutant);
      }
    });
  }

  test('has a row each in the table', () => {
    assert.deepEqual(new Set(MUTANTS.map(([operator]) => operator)), new Set(OPERATOR_NAMES));
  });
});

describe('the mutations of a source', () => {
  test('leave comments, imports, types and texts alone', () => {
    const source = `
      import a, { type B } from './a.ts';
      /** if (!a && 1 < 2) throw true; */
      interface C { readonly d: 1 | true; e?: 'CODE' }
      type F = C['e'] extends 'CODE' ? 1 : 2; // a === b
      const g: 1 = 'a < b && c' as F satisfies B<true>;
      export * from './b.ts';`;
    assert.deepEqual(mutationsOf(source), []);
    assert.equal(codeLines(source), 3);
  });

  test('say where they are and what changes, after characters of every width', () => {
    const source = "const a: '…€😀' = '…€😀' as any;\n\n  const b = a === 'x';\n";
    const [mutation] = mutationsOf(source);
    assert.ok(mutation);
    const { line, before, after } = mutation;
    assert.deepEqual([line, before, after], [3, "  const b = a === 'x';", "  const b = a !== 'x';"]);
    assert.equal(mutated(source, mutation), source.replace('===', '!=='));
  });
});

describe('the choice of mutants', () => {
  const sourceOf = (path: string, lines: number) => ({
    path,
    text: Array.from({ length: lines }, (_, index) => `f(a${index} < b && c);`).join('\n'),
  });
  const folders = [
    { name: 'big', sources: [sourceOf('big/a.ts', 20), sourceOf('big/deep/b.ts', 10)] },
    { name: 'small', sources: [sourceOf('small/c.ts', 10)] },
  ];
  const listOf = (chosen: ReturnType<typeof chooseMutants>) =>
    chosen.map(
      ({ number, source, mutation }) => `${number} ${source.path}:${mutation.line} ${mutation.after}`,
    );

  test('is spread by size, has one for a line, and is the same for the same seed', () => {
    const chosen = chooseMutants(folders, 20, 1);
    assert.equal(chosen.filter(({ folder }) => folder === 'big').length, 15);
    assert.equal(chosen.filter(({ folder }) => folder === 'small').length, 5);
    assert.equal(new Set(chosen.map(({ source, mutation }) => `${source.path}:${mutation.line}`)).size, 20);
    assert.deepEqual(listOf(chooseMutants(folders, 20, 1)), listOf(chosen));
    assert.notDeepEqual(listOf(chooseMutants(folders, 20, 2)), listOf(chosen));
    assert.deepEqual(
      chosen.map(({ number }) => number),
      Array.from({ length: 20 }, (_, index) => index + 1),
    );
  });

  test('stays when a file moves within its folder', () => {
    const after = (path: string) =>
      chooseMutants([{ name: 'a', sources: [sourceOf(path, 30)] }], 10, 1).map(
        ({ mutation }) => mutation.after,
      );
    assert.deepEqual(after('a/deep/new.ts'), after('a/old.ts'));
  });

  test('is all that there is where more are asked for', () => {
    assert.equal(chooseMutants(folders, 1000, 1).length, 40);
    assert.deepEqual(chooseMutants([{ name: 'empty', sources: [] }], 5, 1), []);
  });

  test('shares a number out without a rest', () => {
    const cases: readonly [count: number, weights: readonly number[], shares: readonly number[]][] = [
      [100, [1, 1, 1], [34, 33, 33]],
      [10, [0.6, 0.25, 0.15], [6, 3, 1]],
      [3, [0, 5], [0, 3]],
      [3, [0, 0], [0, 0]],
    ];
    for (const [count, weights, shares] of cases) assert.deepEqual(shareOut(count, weights), shares);
  });
});
