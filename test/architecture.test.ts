import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { posix } from 'node:path';
import { describe, test } from 'node:test';
import {
  checkCircles,
  checkDocs,
  checkFolders,
  checkImports,
  checkSource,
  importsOf,
} from './support/source-rules.ts';

const SRC = new URL('../src/', import.meta.url);

async function readSources(): Promise<ReadonlyMap<string, string>> {
  const names = await readdir(SRC, { recursive: true });
  const paths = names.map((name) => name.replaceAll('\\', '/')).filter((name) => /\.[a-z]+$/.test(name));
  return new Map(
    await Promise.all(paths.map(async (path) => [path, await readFile(new URL(path, SRC), 'utf8')] as const)),
  );
}

const sources = await readSources();

describe('the sources', () => {
  test('are there, all of them TypeScript but for the styles of the page', () => {
    assert.ok(sources.size > 50, `${sources.size} files`);
    for (const path of sources.keys())
      assert.match(path, /^(?:[a-z0-9-]+(?:\/[a-z0-9-]+)*\.ts|web\/style\/[a-z]+\.css)$/);
  });

  test('import one way', () => {
    assert.deepEqual(
      [...sources].flatMap(([path, source]) => checkImports(path, source)),
      [],
    );
  });

  test('import in no circle, types included', () => assert.deepEqual(checkCircles(sources), []));

  test('lie in folders that can be seen at a glance', () =>
    assert.deepEqual(checkFolders(sources.keys()), []));

  test('import what exists', () => {
    const missing = [...sources].flatMap(([path, source]) =>
      importsOf(source)
        .filter((specifier) => specifier?.startsWith('.'))
        .map((specifier) => posix.join(posix.dirname(path), specifier ?? ''))
        .filter((target) => !sources.has(target)),
    );
    assert.deepEqual(missing, []);
  });

  test('import all that the text says, as far as a look for quotes can tell', () => {
    // Another way to look: a line that ends in from '…'; is the end of an import, and all static ones are written so.
    for (const [path, source] of sources) {
      const ends = source.matchAll(/^(?:import|export|\}).* from '([^']+)';$/gm);
      const imports = new Set(importsOf(source));
      for (const [, specifier] of ends) assert.ok(imports.has(specifier), `${path}: ${specifier}`);
    }
  });

  test('keep to the rules of the house', () => {
    assert.deepEqual(
      [...sources].flatMap(([path, source]) => checkSource(path, source)),
      [],
    );
  });

  test('document each export', () => {
    assert.deepEqual(
      [...sources].flatMap(([path, source]) => checkDocs(path, source)),
      [],
    );
  });
});

describe('an import is seen', () => {
  const table: readonly [source: string, names: (string | undefined)[]][] = [
    [`import { a } from './a.ts';`, ['./a.ts']],
    [`import a from "./a.ts"`, ['./a.ts']],
    [`import * as a from './a.ts';`, ['./a.ts']],
    [`import a, { type B } from './a.ts';`, ['./a.ts']],
    [`import type { A } from './a.ts';`, ['./a.ts']],
    [`import {\n  a,\n  type B,\n} from './a.ts';`, ['./a.ts']],
    [`import './a.ts';`, ['./a.ts']],
    [`import json from './a.json' with { type: 'json' };`, ['./a.json']],
    [`export { a } from './a.ts';`, ['./a.ts']],
    [`export * from './a.ts';`, ['./a.ts']],
    [`export type { A } from './a.ts';`, ['./a.ts']],
    [`const a = await import('./a.ts');`, ['./a.ts']],
    [`const a = await import(\n  './a.ts'\n);`, ['./a.ts']],
    [`const a = await import('./a.json', { with: { type: 'json' } });`, ['./a.json']],
    [`type A = import('./a.ts').A;`, ['./a.ts']],
    [`function f(a: import("./a.ts").A): void {}`, ['./a.ts']],
    ['const a = import(`./a.ts`);', ['./a.ts']],
    [`const a = import(\`./\${name}.ts\`);`, [undefined]],
    [`const a = import(name);`, [undefined]],
    [`const a = import('./a' + '.ts');`, [undefined]],
    [`const a = require('fs');`, [undefined]],
    [`const a = process.getBuiltinModule('fs');`, [undefined]],
    [`const require = createRequire(import.meta.url);`, [undefined]],
    [`import { a } from './a.ts'; import { b } from './b.ts';`, ['./a.ts', './b.ts']],
    [`/* a */ import { a } from './a.ts';`, ['./a.ts']],
    [`const url = 'https://x'; import('./a.ts');`, ['./a.ts']],
    [`const a = 1; // it's not a comment's end: import('./a.ts')`, ['./a.ts']],
  ];
  for (const [source, names] of table) {
    test(source.replaceAll('\n', ' '), () => assert.deepEqual(importsOf(source), names));
  }

  test('and nothing else is taken for one', () => {
    for (const source of [
      `// import { a } from './a.ts';`,
      `/**\n * import('./a.ts')\n */`,
      `const url = import.meta.url;`,
      `export const from = 'x';`,
      `export function importsOf(source: string) {}`,
      `module.import('x');`,
    ]) {
      assert.deepEqual(importsOf(source), [], source);
    }
  });
});

describe('a wrong import is caught', () => {
  const up = 'it points up';
  const sameFloor = 'rooms of one floor do not know each other';
  const spans = 'spans are for http, pull, storage and registry/transport/traced.ts';
  const wrong: readonly [path: string, specifier: string, why: string][] = [
    ['pull/x.ts', '../http/send.ts', up],
    ['pull/cache/x.ts', '../../http/send.ts', up],
    ['pull/x.ts', '../config/config.ts', up],
    ['config/x.ts', '../http/server.ts', up],
    ['http/x.ts', '../cli/serve.ts', up],
    ['cli/x.ts', '../main.ts', up],
    ['image/x.ts', '../main.ts', up],
    ['registry/x.ts', '../pull/y.ts', up],
    ['image/x.ts', '../archive/y.ts', up],
    ['image/x.ts', '../streams/y.ts', up],
    ['streams/x.ts', '../storage/y.ts', up],
    ['tar/x.ts', '../storage/y.ts', up],
    ['util/x.ts', '../image/y.ts', up],
    ['registry/x.ts', '../storage/y.ts', sameFloor],
    ['storage/x.ts', '../archive/y.ts', sameFloor],
    ['archive/x.ts', '../registry/deep/y.ts', sameFloor],
    ['image/x.ts', '../tar/y.ts', sameFloor],
    ['tar/x.ts', '../image/y.ts', sameFloor],
    ['telemetry/x.ts', '../image/y.ts', 'telemetry knows errors only'],
    ['telemetry/x.ts', '../util/y.ts', 'telemetry knows errors only'],
    ['telemetry/x.ts', './sdk.ts', 'the SDK is for cli only'],
    ['http/x.ts', '../telemetry/sdk.ts', 'the SDK is for cli only'],
    ['telemetry/x.ts', '@opentelemetry/sdk-node', 'only telemetry/sdk.ts knows the SDK'],
    ['cli/serve.ts', '@opentelemetry/sdk-node', 'only telemetry/sdk.ts knows the SDK'],
    ['cli/serve.ts', '@opentelemetry/api', 'this room knows no telemetry'],
    ['telemetry/x.ts', '../config/config.ts', 'telemetry knows errors only'],
    ['registry/auth/token.ts', '../../telemetry/span.ts', spans],
    ['image/x.ts', '../telemetry/span.ts', spans],
    ['cli/serve.ts', '../telemetry/span.ts', spans],
    ['pull/x.ts', '../telemetry/log.ts', 'only faces write the log'],
    ['archive/x.ts', '../telemetry/log.ts', 'only faces write the log'],
    ['errors.ts', './version.ts', 'leaves import nothing'],
    ['errors.ts', './image/digest.ts', 'leaves import nothing'],
    ['errors.ts', 'node:util', 'leaves import nothing'],
    ['misc/x.ts', '../image/y.ts', 'misc has no place in the house'],
    ['http/x.ts', '../misc/y.ts', 'misc has no place in the house'],
    ['http/x.ts', '../../package.json', 'it is no module of src'],
    ['http/x.ts', '../../test/support/image.ts', 'it is no module of src'],
    ['http/x.ts', '../image/digest', 'it is no module of src'],
    ['image/x.ts', 'node:fs', 'pure rooms know no input and output'],
    ['tar/x.ts', 'node:fs/promises', 'pure rooms know no input and output'],
    ['archive/x.ts', 'node:http', 'pure rooms know no input and output'],
    ['image/x.ts', '@opentelemetry/api', 'this room knows no telemetry'],
    ['registry/token.ts', '@opentelemetry/api', 'this room knows no telemetry'],
    ['registry/x.ts', 'undici', 'only @opentelemetry packages are dependencies'],
    ['http/x.ts', 'esbuild', 'only @opentelemetry packages are dependencies'],
    ['web/x.ts', '../pull/y.ts', up],
    ['web/x.ts', '../archive/y.ts', up],
    ['web/x.ts', '../streams/y.ts', sameFloor],
    ['http/x.ts', 'fs', 'only @opentelemetry packages are dependencies'],
    ['tar/x.ts', 'tar-stream', 'only @opentelemetry packages are dependencies'],
  ];
  for (const [path, specifier, why] of wrong) {
    test(`${specifier} in ${path}`, () => {
      const expected = [`${path}: ${specifier}: ${why}`];
      assert.deepEqual(checkImports(path, `import { a } from '${specifier}';`), expected);
      assert.deepEqual(checkImports(path, `import type { A } from '${specifier}';`), expected);
      assert.deepEqual(checkImports(path, `const a = await import('${specifier}');`), expected);
      assert.deepEqual(checkImports(path, `type A = import('${specifier}').A;`), expected);
    });
  }

  test('an import that is not a literal', () => {
    assert.deepEqual(checkImports('http/x.ts', 'await import(name)'), [
      'http/x.ts: import: what it imports is not a literal',
    ]);
  });

  const right: readonly [path: string, specifier: string][] = [
    ['main.ts', './cli/serve.ts'],
    ['main.ts', './config/config.ts'],
    ['cli/serve.ts', '../http/service.ts'],
    ['http/x.ts', '../config/config.ts'],
    ['http/x.ts', './y.ts'],
    ['http/handlers/x.ts', '../y.ts'],
    ['http/x.ts', '../tar/y.ts'],
    ['http/x.ts', '../web/page.ts'],
    ['web/page-files.ts', 'esbuild'],
    ['web/x.ts', '../image/y.ts'],
    ['http/x.ts', '../telemetry/log.ts'],
    ['http/x.ts', '../telemetry/span.ts'],
    ['pull/x.ts', '../registry/y.ts'],
    ['pull/x.ts', '../image/y.ts'],
    ['pull/x.ts', '../telemetry/span.ts'],
    ['storage/x.ts', '../image/y.ts'],
    ['storage/x.ts', '../streams/y.ts'],
    ['streams/x.ts', '../image/y.ts'],
    ['storage/x.ts', 'node:fs/promises'],
    ['registry/transport/traced.ts', '../../telemetry/span.ts'],
    ['registry/transport/traced.ts', '@opentelemetry/api'],
    ['archive/x.ts', '../tar/y.ts'],
    ['archive/x.ts', 'node:crypto'],
    ['image/x.ts', '../errors.ts'],
    ['image/x.ts', '../util/y.ts'],
    ['telemetry/x.ts', '../errors.ts'],
    ['telemetry/x.ts', '../util/printable.ts'],
    ['telemetry/x.ts', '@opentelemetry/api'],
    ['telemetry/sdk.ts', '@opentelemetry/sdk-node'],
    ['cli/serve.ts', '../telemetry/sdk.ts'],
    ['config/config.ts', './telemetry.ts'],
    ['config/config.ts', '../pull/request.ts'],
    ['config/config.ts', '../telemetry/log.ts'],
    ['pull/x.ts', '../version.ts'],
  ];
  for (const [path, specifier] of right) {
    test(`but not ${specifier} in ${path}`, () => {
      assert.deepEqual(checkImports(path, `import { a } from '${specifier}';`), []);
    });
  }
});

describe('a circle is caught', () => {
  const table: readonly [name: string, sources: Record<string, string>, circles: string[]][] = [
    ['of two', { 'a.ts': `import './b.ts'`, 'b.ts': `import './a.ts'` }, ['a.ts → b.ts → a.ts']],
    [
      'of types, over rooms',
      { 'x/a.ts': `import type { B } from '../y/b.ts';`, 'y/b.ts': `type A = import('../x/a.ts').A;` },
      ['x/a.ts → y/b.ts → x/a.ts'],
    ],
    ['of one', { 'a.ts': `import './a.ts'` }, ['a.ts → a.ts']],
    [
      'but not two ways to one file',
      { 'a.ts': `import './b.ts'; import './c.ts'`, 'b.ts': `import './c.ts'`, 'c.ts': '' },
      [],
    ],
  ];
  for (const [name, files, circles] of table) {
    test(name, () => assert.deepEqual(checkCircles(new Map(Object.entries(files))), circles));
  }
});

test('a folder with too many files is caught', () => {
  const paths = Array.from({ length: 15 }, (_, index) => `pull/x${index}.ts`);
  assert.deepEqual(checkFolders(paths), ['pull: it has 15 files, more than 14']);
  assert.deepEqual(checkFolders([...paths.slice(1), 'pull/cache/y.ts']), []);
});

describe('what no source may hold is caught', () => {
  const wrong: readonly [path: string, source: string, rule: string][] = [
    ['http/x.ts', 'x\n'.repeat(301), 'it has 301 lines, more than 300'],
    ['http/x.ts', 'const a: any = 1;', 'it uses the type any'],
    ['http/x.ts', 'const a: any[] = [];', 'it uses the type any'],
    ['http/x.ts', 'const a = b as any;', 'it uses the type any'],
    ['http/x.ts', 'const a = new Map<string, any>();', 'it uses the type any'],
    ['http/x.ts', 'type A<T extends any> = T;', 'it uses the type any'],
    ['http/x.ts', 'type A = string | any;', 'it uses the type any'],
    ['http/x.ts', 'function f(a?: any): void {}', 'it uses the type any'],
    ['http/x.ts', 'enum Colour { Red }', 'it has an enum'],
    ['http/x.ts', 'export const enum Colour { Red }', 'it has an enum'],
    ['http/x.ts', 'declare enum Colour { Red }', 'it has an enum'],
    ['http/x.ts', 'namespace Colours {}', 'it has a namespace'],
    ['http/x.ts', 'export namespace Colours {}', 'it has a namespace'],
    ['http/x.ts', "declare module 'x' {}", 'it has a namespace'],
    ...[
      'const a = process.env.A;',
      "const a = process.env['A'];",
      'const a = process\n  .env;',
      "const a = process['env'];",
      'const { env } = process;',
      "import { env } from 'node:process';",
      "import process from 'process';",
      `const a = \`\${process.env.A}\`;`,
    ].map((source): [string, string, string] => [
      'cli/x.ts',
      source,
      'it reads the environment, which only main.ts does',
    ]),
    ...['import { a } from', 'import a, { type B } from', 'import'].map((start): [string, string, string] => [
      'cli/x.ts',
      `${start} '../telemetry/sdk.ts';`,
      'it loads the SDK whether it is needed or not',
    ]),
    [
      'http/x.ts',
      `throw new Error(\`Cannot use \${JSON.stringify(text)}\`);`,
      'it quotes with JSON.stringify, which leaves control characters: use quoted or printableJson',
    ],
    ['image/x.ts', 'const now = Date.now();', 'it is pure, and has "Date.now"'],
    ['tar/x.ts', 'const now = new Date().getTime();', 'it is pure, and has "new Date()"'],
    ['archive/x.ts', 'const a = Math.random();', 'it is pure, and has "Math.random"'],
    ['archive/x.ts', "await fetch('https://x');", 'it is pure, and has "fetch"'],
    ['image/x.ts', `const a = \`\${process.pid}\`;`, 'it is pure, and has "process"'],
    ['image/x.ts', 'globalThis.name = 1;', 'it is pure, and has "globalThis"'],
  ];
  for (const [path, source, rule] of wrong) {
    test(`${rule}: ${source.slice(0, 40).replaceAll('\n', ' ')}`, () => {
      assert.deepEqual(checkSource(path, source), [`${path}: ${rule}`]);
    });
  }

  const right: readonly [path: string, source: string][] = [
    ['http/x.ts', 'x\n'.repeat(300)],
    ['http/x.ts', 'const a = AbortSignal.any([b, c]);'],
    ['http/x.ts', "throw new Error('takes any: number');"],
    ['http/x.ts', '/** Whether there is: any of them, as any reader sees */\nconst a = 1;'],
    ['http/x.ts', '// process.env is read elsewhere'],
    ['http/x.ts', "const enumerable = 'enum x'; const namespace = 1;"],
    ['http/x.ts', 'const now = Date.now();'],
    ['main.ts', 'serve(process.env);'],
    ['cli/x.ts', "import type { Telemetry } from '../telemetry/sdk.ts';"],
    ['cli/x.ts', "const sdk = await import('../telemetry/sdk.ts');"],
    ['cli/x.ts', "process.stdout.write('x');"],
    ['image/x.ts', "const date = new Date('2020-01-01'); const fetched = a.process;"],
  ];
  for (const [path, source] of right) {
    test(`but not in ${path}: ${source.slice(0, 40).replaceAll('\n', ' ')}`, () => {
      assert.deepEqual(checkSource(path, source), []);
    });
  }
});

describe('an export without JSDoc is caught', () => {
  const wrong: readonly string[] = [
    'export const a = 1;',
    'export function f(): void {}',
    'export async function* f() {}',
    'export class A {}',
    'export interface A {}',
    'export type A = string;',
    'export default 1;',
    '/** About something else. */\n\nexport const a = 1;',
    '/** About something else. */\nconst b = 1;\nexport const a = b;',
    '// A comment of another kind.\nexport const a = 1;',
    '/* A comment of another kind. */\nexport const a = 1;',
    '/**\n *\n */\nexport const a = 1;',
    '/** */\nexport const a = 1;',
  ];
  for (const source of wrong) {
    test(source.replaceAll('\n', ' '), () => {
      const lines = source.split('\n');
      const [line = ''] = lines.filter((text) => text.startsWith('export'));
      assert.deepEqual(checkDocs('http/x.ts', source), [
        `http/x.ts:${lines.indexOf(line) + 1}: ${line}: it has no JSDoc`,
      ]);
    });
  }

  const right: readonly string[] = [
    '/** What it is. */\nexport const a = 1;',
    '/**\n * What it is.\n */\nexport function f(): void {}',
    '/** What both are. */\nexport const A = [1] as const;\nexport type A = (typeof A)[number];',
    "export { a } from './a.ts';",
    "export * from './a.ts';",
    "export type { A } from './a.ts';",
    'const exported = 1;',
  ];
  for (const source of right) {
    test(`but not ${source.replaceAll('\n', ' ')}`, () =>
      assert.deepEqual(checkDocs('http/x.ts', source), []));
  }
});
