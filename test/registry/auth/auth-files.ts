/** Auth files and helper programs for tests, in a folder that ends with the test. */

import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

/** A folder with files. */
export interface AuthFolder extends AsyncDisposable {
  readonly path: string;
  /** Variables that lead to the helper programs and to nothing else but the shell. */
  readonly environment: { readonly PATH: string };
  /** Writes a file, as JSON unless it is a text, and returns its path. */
  write(name: string, content: unknown): Promise<string>;
  /** Writes a helper program: a shell script, in which `$server` is its input. */
  addHelper(name: string, script: string): Promise<void>;
  /** The inputs of all runs of helpers, in order. */
  asked(): Promise<readonly string[]>;
}

/** Makes a folder. */
export async function makeAuthFolder(): Promise<AuthFolder> {
  const path = await mkdtemp(join(tmpdir(), 'auth-'));
  const bin = join(path, 'bin');
  const log = join(path, 'asked');
  await mkdir(bin);
  await writeFile(log, '');
  return {
    path,
    environment: { PATH: `${bin}:/usr/bin:/bin` },
    write: async (name, content) => {
      const file = join(path, name);
      await mkdir(dirname(file), { recursive: true });
      await writeFile(file, typeof content === 'string' ? content : JSON.stringify(content));
      return file;
    },
    addHelper: async (name, script) => {
      const file = join(bin, `docker-credential-${name}`);
      const head = `#!/bin/sh\n[ "$1" = get ] || exit 9\nserver=$(cat)\necho "${name} $server" >>'${log}'\n`;
      await writeFile(file, head + script);
      await chmod(file, 0o755);
    },
    asked: async () => (await readFile(log, 'utf8')).split('\n').slice(0, -1),
    [Symbol.asyncDispose]: () => rm(path, { recursive: true }),
  };
}

/** The field `auth` of an entry. */
export function authOf(username: string, password: string): { readonly auth: string } {
  return { auth: Buffer.from(`${username}:${password}`).toString('base64') };
}

/** The script of a helper that knows one user. */
export function answering(username: string, secret: string): string {
  return `printf '{"ServerURL":"%s","Username":"%s","Secret":"%s"}' "$server" '${username}' '${secret}'\n`;
}
