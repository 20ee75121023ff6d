/**
 * Tar readers in common use, to check the encoder; and a decoder of single headers. The decoder has its own copy of the offsets
 * in the POSIX table, so it shares no mistake with `src/tar`.
 */

import { execFile, spawnSync } from 'node:child_process';
import { promisify } from 'node:util';
import type { TarEntry } from '../../src/tar/header.ts';

/** One entry in a reader's output. A directory's name has no `/` at its end. */
export interface Listed extends Omit<Required<TarEntry>, 'type'> {
  /** `file`, `directory`, or the reader's word for anything else. */
  readonly type: string;
  readonly uid: number;
  readonly gid: number;
}

export interface Reader {
  readonly name: string;
  /** Why tests with this reader are skipped. In CI a missing reader fails. */
  readonly skip: string | false;
  /** Every entry of the archive, in any order. */
  list(archive: string): Promise<Listed[]>;
  /** Names and sizes in the archive's order, without reading contents. */
  sizes(archive: string): Promise<Pick<Listed, 'name' | 'size'>[]>;
  extract(archive: string, folder: string): Promise<void>;
}

/** Longest run of a reader, in milliseconds. A call takes a few dozen, unless it reads all contents. */
const TIMEOUT = 60_000;

const environment = {
  ...process.env,
  LC_ALL: process.platform === 'darwin' ? 'en_US.UTF-8' : 'C.UTF-8',
  TZ: 'UTC',
};

interface Tool {
  readonly skip: string | false;
  run(args: readonly string[]): Promise<string>;
}

/** The first of `commands` whose version matches. */
function findTool(name: string, commands: readonly string[], version: RegExp): Tool {
  const command = commands.find((candidate) => {
    const { stdout } = spawnSync(candidate, ['--version'], { encoding: 'utf8', timeout: TIMEOUT });
    return version.test(stdout ?? '');
  });
  const missing = `${name} is not installed`;
  return {
    skip: command === undefined && !process.env['CI'] ? missing : false,
    async run(args) {
      if (command === undefined) throw new Error(missing);
      const options = { env: environment, timeout: TIMEOUT, maxBuffer: 2 ** 26 };
      const { stdout, stderr } = await promisify(execFile)(command, args, options);
      if (stderr !== '') throw new Error(`${name} complains: ${stderr}`);
      return stdout;
    },
  };
}

const gnu = findTool('GNU tar', ['tar', 'gtar'], /GNU tar/);
const bsd = findTool('bsdtar', ['bsdtar', 'tar'], /libarchive/);
const python = findTool('python3', ['python3'], /^Python 3/);

const gnuTar: Reader = {
  name: 'GNU tar',
  skip: gnu.skip,
  async list(archive) {
    const options = ['--quoting-style=literal', '--numeric-owner', '--full-time', '-tvf'];
    return lines(await gnu.run([...options, archive])).map((line) => {
      const [, mode = '', uid, gid, size, time, name = ''] =
        /^(\S{10}) (\d+)\/(\d+) +(\d+) (\S+ \S+) (.*)$/.exec(line) ?? [];
      return {
        name: withoutSlash(name),
        type: { d: 'directory', '-': 'file' }[mode.charAt(0)] ?? mode,
        size: Number(size),
        mode: parseMode(mode),
        mtime: Date.parse(`${time}Z`) / 1000,
        uid: Number(uid),
        gid: Number(gid),
      };
    });
  },
  sizes: (archive) => gnuTar.list(archive),
  async extract(archive, folder) {
    await gnu.run(['-xpf', archive, '-C', folder]);
  },
};

const bsdtar: Reader = {
  name: 'bsdtar',
  skip: bsd.skip,
  // The listing of bsdtar has no seconds, so it converts the archive to the text format mtree.
  async list(archive) {
    const keywords = ['!all', 'type', 'size', 'mode', 'time', 'uid', 'gid'];
    const options = keywords.map((keyword) => `mtree:${keyword}`).join(',');
    const output = await bsd.run(['-cf', '-', '--format=mtree', '--options', options, `@${archive}`]);
    return lines(output)
      .filter((line) => line !== '#mtree')
      .map((line) => {
        const [path = '', ...words] = line.split(' ');
        const values = Object.fromEntries(words.map((word) => word.split('=')));
        return {
          name: withoutSlash(unescapeBsd(path.replace(/^\.\//, ''))),
          type: values['type'] === 'dir' ? 'directory' : String(values['type']),
          size: Number(values['size'] ?? 0),
          mode: Number.parseInt(values['mode'], 8),
          mtime: Number(values['time']),
          uid: Number(values['uid']),
          gid: Number(values['gid']),
        };
      });
  },
  async sizes(archive) {
    return lines(await bsd.run(['-tvf', archive])).map((line) => {
      const [, size, name = ''] = /^\S+ +\d+ +\S+ +\S+ +(\d+) \w+ +\d+ +\S+ (.*)$/.exec(line) ?? [];
      return { name: withoutSlash(unescapeBsd(name)), size: Number(size) };
    });
  },
  async extract(archive, folder) {
    await bsd.run(['-xpf', archive, '-C', folder]);
  },
};

const LIST_PROGRAM = `
import json, sys, tarfile
with tarfile.open(sys.argv[1], 'r:') as archive:
    print(json.dumps([{
        'name': entry.name, 'type': 'directory' if entry.isdir() else 'file' if entry.isreg() else 'other',
        'size': entry.size, 'mode': entry.mode, 'mtime': entry.mtime, 'uid': entry.uid, 'gid': entry.gid,
    } for entry in archive]))`;

const EXTRACT_PROGRAM = `
import sys, tarfile
with tarfile.open(sys.argv[1], 'r:') as archive:
    if hasattr(tarfile, 'fully_trusted_filter'): archive.extraction_filter = tarfile.fully_trusted_filter
    archive.extractall(sys.argv[2])`;

const tarfile: Reader = {
  name: 'Python tarfile',
  skip: python.skip,
  list: async (archive) => JSON.parse(await python.run(['-c', LIST_PROGRAM, archive])),
  sizes: (archive) => tarfile.list(archive),
  async extract(archive, folder) {
    await python.run(['-c', EXTRACT_PROGRAM, archive, folder]);
  },
};

export const readers: readonly Reader[] = [gnuTar, bsdtar, tarfile];

/** The fields of one header, with numbers as text. */
export function decodeHeader(block: Uint8Array) {
  const bytes = Buffer.from(block);
  const text = (from: number, length: number) => {
    const field = bytes.subarray(from, from + length);
    const end = field.indexOf(0);
    return field.subarray(0, end === -1 ? length : end).toString();
  };
  return {
    name: text(0, 100),
    size: text(124, 12),
    typeflag: text(156, 1),
    prefix: text(345, 155),
    checksum: Number.parseInt(text(148, 8), 8),
    /** The expected checksum: the sum of all bytes, with spaces in its own field. */
    sum: bytes.reduce((sum, byte, at) => sum + (at >= 148 && at < 156 ? 0x20 : byte), 0),
  };
}

function lines(output: string): string[] {
  return output.split('\n').filter((line) => line !== '');
}

function withoutSlash(name: string): string {
  return name.replace(/\/$/, '');
}

/** `drwxr-sr-t` → 0o3755: `s` and `t` in place of x mean x and a higher bit, `S` and `T` only the higher bit. */
function parseMode(text: string): number {
  return [...text.slice(1)].reduce((mode, letter, at) => {
    const high = /[st]/i.test(letter) ? 0o4000 >> Math.floor(at / 3) : 0;
    return mode | high | (/[rwxst]/.test(letter) ? 0o400 >> at : 0);
  }, 0);
}

/** bsdtar writes bytes as `\ooo`, and in listings a backslash as two. */
function unescapeBsd(text: string): string {
  const bytes = Buffer.from(text).toString('latin1');
  const plain = bytes.replace(/\\(\\|[0-7]{3})/g, (_, code: string) =>
    code === '\\' ? code : String.fromCharCode(Number.parseInt(code, 8)),
  );
  return Buffer.from(plain, 'latin1').toString();
}
