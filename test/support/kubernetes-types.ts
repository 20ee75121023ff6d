/** Checks manifests against the types and schemas of Kubernetes, without a cluster and without the network. */

import { execFile } from 'node:child_process';
import { mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { parseAllDocuments } from 'yaml';

const ROOT = join(import.meta.dirname, '..', '..');

/** Longest run of the compiler, in milliseconds. */
const COMPILE_LIMIT_MS = 120_000;

/** A manifest. */
export interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly labels?: Readonly<Record<string, string>>;
  };
  // biome-ignore lint/suspicious/noExplicitAny: what tests read of it has been compared with its type.
  readonly [field: string]: any;
}

/** What a class of `kubernetes-models` does with a manifest. */
type Model = new (data: unknown) => { validate(): void };

/** The module of the package that has the types of a version: `apps/v1`, or `v1` for the core. */
function moduleOf(apiVersion: string): string {
  return `kubernetes-models/${apiVersion}`;
}

/** The manifests in a YAML text. */
export function parseManifests(text: string): readonly Manifest[] {
  return parseAllDocuments(text).map((document) => {
    const [error] = document.errors;
    if (error !== undefined) throw error;
    return document.toJS() as Manifest;
  });
}

/**
 * Finds faults of manifests: the compiler finds unknown fields, and the schemas find wrong values.
 *
 * @returns one text for each fault; empty if there is none
 */
export async function kubernetesFaults(manifests: readonly Manifest[]): Promise<readonly string[]> {
  const folder = await mkdtemp(join(tmpdir(), 'kubernetes-'));
  try {
    await symlink(join(ROOT, 'node_modules'), join(folder, 'node_modules'));
    const lines = manifests.flatMap((manifest, at) => {
      const { apiVersion, kind } = manifest;
      return [
        `import type { I${kind} as T${at} } from '${moduleOf(apiVersion)}';`,
        `export const ${kind}${at}: T${at} = ${JSON.stringify(manifest, undefined, 1)};`,
      ];
    });
    await writeFile(join(folder, 'manifests.ts'), lines.join('\n'));
    await writeFile(join(folder, 'package.json'), '{"type":"module"}');
    const compilerOptions = { module: 'nodenext', strict: true, noEmit: true, skipLibCheck: true, types: [] };
    await writeFile(
      join(folder, 'tsconfig.json'),
      JSON.stringify({ compilerOptions, files: ['manifests.ts'] }),
    );
    const compiler = join(ROOT, 'node_modules', '.bin', 'tsc');
    const compiled = await promisify(execFile)(compiler, ['-p', folder, '--pretty', 'false'], {
      timeout: COMPILE_LIMIT_MS,
    }).catch((error: { readonly stdout: string }) => error);
    const unknown = compiled.stdout.split('\n').filter((line) => line !== '');
    return [...unknown, ...(await Promise.all(manifests.map(schemaFaults))).flat()];
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function schemaFaults(manifest: Manifest): Promise<readonly string[]> {
  const models = (await import(moduleOf(manifest.apiVersion))) as Record<string, Model>;
  const Kind = models[manifest.kind];
  if (Kind === undefined) return [`${manifest.apiVersion} has no ${manifest.kind}`];
  try {
    new Kind(manifest).validate();
    return [];
  } catch (error) {
    return [`${manifest.kind}: ${error instanceof Error ? error.message : error}`];
  }
}
