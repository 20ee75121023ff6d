/**
 * The rules of the house, as checks on source text: which module may import which, and what no module may hold.
 * They read text, not syntax trees, and lean to the strict side: what they cannot read is a violation.
 */

import { posix } from 'node:path';

/** A rule that a file breaks, as a line to show. */
export type Violation = string;

/** Most lines of a file: beyond that it holds more than one noun. */
const MAX_LINES = 300;

/** Most files of a folder: beyond that a reader no longer sees at a glance what is in it. */
const MAX_FILES = 14;

/** The one module that knows the telemetry SDK. It takes longer to load than all other modules, so it is loaded on demand. */
const SDK = 'telemetry/sdk.ts';

/** Files that import nothing and that every file may import. */
const LEAVES = new Set(['errors.ts', 'version.ts', 'util/printable.ts']);

/** Writes documents of archives, whose bytes are given. */
const CONTENT_WRITER = 'archive/entries.ts';

/** Rooms and top-level files, from the lowest floor to the highest. A file imports from its own room and from floors below. */
const FLOORS: readonly (readonly string[])[] = [
  ['util'],
  ['image', 'tar'],
  // The page knows image/ only: its scripts run in browsers.
  ['streams', 'web'],
  ['registry', 'storage', 'archive'],
  ['pull', 'tarball'],
  ['config', 'library'],
  ['http'],
  ['cli', 'index.ts', 'tarball.ts'],
  ['main.ts'],
];

/** The lowest floor that faces the user: it may write the log. */
const FIRST_FACE = FLOORS.findIndex((rooms) => rooms.includes('config'));

/** Rooms whose output depends on their input alone. */
const PURE = new Set(['image', 'tar', 'archive']);

/** Bundles the page when the program runs from source; a published program has the result. */
const BUNDLER = 'web/page-files.ts';

/** Node's modules that reach nothing outside the process. */
const PURE_MODULES = new Set(['node:buffer', 'node:crypto', 'node:path', 'node:util', 'node:zlib']);

/** Names by which a module reaches the world, its clock or its chance without an import. */
const IMPURE_NAME =
  /(?<![\w.'"`-])(?:process|fetch|console|performance|setTimeout|setInterval|setImmediate|queueMicrotask|globalThis|new Date\(\)|Date\.now|Math\.random)(?![\w'"`-])/;

/**
 * Every module that a source imports: by static import, re-export, import of types, `import()` and `import('…')` types.
 *
 * @param source text of a module
 * @returns specifiers as they are written; `undefined` for one that is not a literal
 */
export function importsOf(source: string): (string | undefined)[] {
  const code = withoutComments(source);
  const statements = code.matchAll(/\b(?:import|export)\b[^'"`;()]*?\bfrom\s*(['"])(?<name>[^'"]*)\1/g);
  const sideEffects = code.matchAll(/\bimport\s*(['"])(?<name>[^'"]*)\1/g);
  const calls = code.matchAll(/(?<!\.)\bimport\s*\(\s*(?:(['"`])(?<name>[^'"`$]*)\1\s*[,)])?/g);
  const other = code.matchAll(
    /\b(?:require|createRequire|getBuiltinModule)\s*\(|\bimport\s*\.\s*meta\s*\.\s*resolve/g,
  );
  return [...statements, ...sideEffects, ...calls, ...other].map((match) => match.groups?.['name']);
}

/**
 * Check the imports of one file.
 *
 * @param path of the file, from `src`: `http/send.ts`
 * @param source its text
 */
export function checkImports(path: string, source: string): Violation[] {
  return importsOf(source).flatMap((specifier) => {
    const why =
      specifier === undefined
        ? 'what it imports is not a literal'
        : specifier.startsWith('.')
          ? faultOfRoom(path, posix.join(posix.dirname(path), specifier))
          : faultOfPackage(path, specifier);
    return why === undefined ? [] : [`${path}: ${specifier ?? 'import'}: ${why}`];
  });
}

/**
 * Check what one file holds besides its imports.
 *
 * @param path of the file, from `src`
 * @param source its text
 */
export function checkSource(path: string, source: string): Violation[] {
  const code = withoutComments(source);
  const plain = withoutStrings(code);
  const lines = source.replace(/\n$/, '').split('\n').length;
  const findings: readonly [isFound: boolean, rule: string][] = [
    [lines > MAX_LINES, `it has ${lines} lines, more than ${MAX_LINES}`],
    [
      /(?:[:<|&,(=?]|\b(?:as|extends|satisfies|is|keyof|of))\s*any\b(?!\s*[(:'"])/.test(plain),
      'it uses the type any',
    ],
    [/^[ \t]*(?:export\s+)?(?:declare\s+)?(?:const\s+)?enum\s+\w/m.test(plain), 'it has an enum'],
    [/^[ \t]*(?:export\s+)?(?:declare\s+)?(?:namespace|module)\s+\S/m.test(plain), 'it has a namespace'],
    [
      path !== 'main.ts' &&
        (/\bprocess\s*\??\.\s*\[?\s*env\b|\bprocess\s*(?:\?\.)?\s*\[|=\s*process\s*[;,)]/.test(plain) ||
          importsOf(source).some((specifier) => /^(?:node:)?process$/.test(specifier ?? ''))),
      'it reads the environment, which only main.ts does',
    ],
    [
      path !== CONTENT_WRITER && /\$\{\s*JSON\.stringify\(/.test(code),
      'it quotes with JSON.stringify, which leaves control characters: use quoted or printableJson',
    ],
    [
      /^import\s(?!type\b)[^;'"]*['"][^'"]*telemetry\/sdk\.ts['"]/m.test(code),
      'it loads the SDK whether it is needed or not',
    ],
    [
      PURE.has(roomOf(path)) && IMPURE_NAME.test(plain),
      `it is pure, and has ${JSON.stringify(IMPURE_NAME.exec(plain)?.[0])}`,
    ],
  ];
  return findings.filter(([isFound]) => isFound).map(([, rule]) => `${path}: ${rule}`);
}

/**
 * Check that each export of a file is documented: a JSDoc ends on the line before it, or it continues a group of
 * one-line exports without a gap that begins with one. Re-exports are documented where they come from.
 *
 * @param path of the file, from `src`
 * @param source its text
 */
export function checkDocs(path: string, source: string): Violation[] {
  const lines = source.split('\n');
  const isDocumented = (at: number): boolean => {
    const before = lines[at - 1]?.trim() ?? '';
    if (before.endsWith('*/')) {
      const start = lines.slice(0, at).findLastIndex((line) => line.trim().startsWith('/*'));
      return (
        lines[start]?.trim().startsWith('/**') === true && !/^\/?\*+\/?$/.test(docText(lines, start, at))
      );
    }
    return /^export .*;$/.test(before) && isDocumented(at - 1);
  };
  return lines.flatMap((line, at) =>
    /^export\b/.test(line) && !/^export\s+(?:type\s+)?[{*]/.test(line) && !isDocumented(at)
      ? [`${path}:${at + 1}: ${line.trim()}: it has no JSDoc`]
      : [],
  );
}

function docText(lines: readonly string[], start: number, end: number): string {
  return lines.slice(start, end).join('').replaceAll(/\s/g, '');
}

/**
 * Check that no file imports itself by way of others, types included.
 *
 * @param sources text of each file by its path from `src`
 * @returns a line for each circle: its files in order
 */
export function checkCircles(sources: ReadonlyMap<string, string>): Violation[] {
  const circles = new Set<string>();
  const done = new Set<string>();
  const visit = (path: string, above: readonly string[]): void => {
    const start = above.indexOf(path);
    if (start !== -1) circles.add([...above.slice(start), path].join(' → '));
    if (start !== -1 || done.has(path)) return;
    for (const specifier of importsOf(sources.get(path) ?? '')) {
      if (specifier?.startsWith('.')) visit(posix.join(posix.dirname(path), specifier), [...above, path]);
    }
    done.add(path);
  };
  for (const path of sources.keys()) visit(path, []);
  return [...circles];
}

/**
 * Check that no folder holds too many files.
 *
 * @param paths of all files, from `src`
 */
export function checkFolders(paths: Iterable<string>): Violation[] {
  const counts = new Map<string, number>();
  for (const path of paths) {
    const folder = posix.dirname(path);
    counts.set(folder, (counts.get(folder) ?? 0) + 1);
  }
  return [...counts].flatMap(([folder, count]) =>
    count > MAX_FILES ? [`${folder}: it has ${count} files, more than ${MAX_FILES}`] : [],
  );
}

/** The room of a path from `src`, or the file itself where it lies in none. */
function roomOf(path: string): string {
  return path.split('/', 1)[0] ?? '';
}

/** The floor of a room, counted from 0; -1 for what has no place. */
function floorOf(room: string): number {
  return FLOORS.findIndex((rooms) => rooms.includes(room));
}

/** Why one file of `src` may not import another; `undefined` where it may. */
function faultOfRoom(path: string, target: string): string | undefined {
  if (!target.endsWith('.ts') || target.startsWith('../')) return 'it is no module of src';
  if (LEAVES.has(path)) return 'leaves import nothing';
  if (LEAVES.has(target)) return undefined;
  const [from, to] = [roomOf(path), roomOf(target)];
  for (const room of [from, to]) {
    if (floorOf(room) === -1 && room !== 'telemetry') return `${room} has no place in the house`;
  }
  if (target === SDK) return from === 'cli' ? undefined : 'the SDK is for cli only';
  if (from === to) return undefined;
  if (from === 'telemetry') return 'telemetry knows errors only';
  if (to === 'telemetry') return faultOfTelemetry(path, target);
  const [high, low] = [floorOf(from), floorOf(to)];
  if (high === low) return 'rooms of one floor do not know each other';
  return high > low ? undefined : 'it points up';
}

/** Why a file may not import a module of `telemetry/`; `undefined` where it may. */
function faultOfTelemetry(path: string, target: string): string | undefined {
  if (target !== 'telemetry/log.ts')
    return mayTrace(path) ? undefined : 'spans are for http, pull, storage and registry/transport/traced.ts';
  return floorOf(roomOf(path)) >= FIRST_FACE ? undefined : 'only faces write the log';
}

/** Why a file may not import a module from outside; `undefined` where it may. */
function faultOfPackage(path: string, name: string): string | undefined {
  const room = roomOf(path);
  if (name.startsWith('@opentelemetry/')) {
    if (name !== '@opentelemetry/api')
      return path === SDK ? undefined : 'only telemetry/sdk.ts knows the SDK';
    return room === 'telemetry' || mayTrace(path) ? undefined : 'this room knows no telemetry';
  }
  if (name === 'esbuild' && path === BUNDLER) return undefined;
  if (!name.startsWith('node:')) return 'only @opentelemetry packages are dependencies';
  if (LEAVES.has(path)) return 'leaves import nothing';
  return PURE.has(room) && !PURE_MODULES.has(name) ? 'pure rooms know no input and output' : undefined;
}

function mayTrace(path: string): boolean {
  return ['http', 'pull', 'storage'].includes(roomOf(path)) || path === 'registry/transport/traced.ts';
}

/** Drops comments that begin their line, and those behind code that hold no quote. The rest counts as code. */
function withoutComments(source: string): string {
  return source
    .replaceAll(/^[ \t]*\/\*[\s\S]*?\*\//gm, '')
    .replaceAll(/^[ \t]*\/\/.*$/gm, '')
    .replaceAll(/[ \t]\/\/ [^'"`]*$/gm, '')
    .replaceAll(/\/\*[^'"`*]*\*+\//g, '');
}

/** Empties the strings of code that lie in one line, but for what templates put in. */
function withoutStrings(code: string): string {
  return code
    .replaceAll(/'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*"/g, "''")
    .replaceAll(/`(?:[^`\\\n]|\\.)*`/g, (template) =>
      [...template.matchAll(/\$\{([^}]*)\}/g)].map(([, inner]) => `(${inner})`).join(''),
    );
}
