/** The parsers that read what clients and registries send, each with inputs to begin with and with what must hold. */

import { createHash } from 'node:crypto';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { type ErrorCode, isPassthroughError } from '../../../src/errors.ts';
import { parseBasicCredentials } from '../../../src/http/client-credentials.ts';
import { isMatched, mayBePartial, parseRange } from '../../../src/http/conditional.ts';
import { formatJson, formatText, problemOf } from '../../../src/http/problem.ts';
import { findRoute } from '../../../src/http/routes.ts';
import { parseFilename } from '../../../src/image/filename.ts';
import { parseImageConfig } from '../../../src/image/image-config.ts';
import { parseManifest } from '../../../src/image/manifest.ts';
import { formatPlatform, parsePlatform } from '../../../src/image/platform.ts';
import { parseReference } from '../../../src/image/reference.ts';
import { parseChallenges } from '../../../src/registry/auth/challenge.ts';
import { parseLinks } from '../../../src/registry/link.ts';
import { parseHost } from '../../../src/registry/registry-host.ts';
import { retryAfterSeconds } from '../../../src/registry/transport/retry.ts';
import { decompressed } from '../../../src/streams/decompress.ts';
import { StreamCursor } from '../../../src/tar/cursor.ts';
import { encodeTar, type TarSource, tarSize } from '../../../src/tar/encoder.ts';
import { readTar } from '../../../src/tar/reader.ts';
import { verify } from '../../../src/tarball/verify.ts';
import { MemoryBudget } from '../../../src/util/memory-budget.ts';
import { base256, gnuLong, paxEntry, rawTar } from '../../../test/support/raw-tar.ts';
import { FLAVOURS, tarOf } from '../../../test/tarball/flavours.ts';

/** A parser, and what it must hold to. */
export interface FuzzTarget {
  readonly name: string;
  /** Largest input, in bytes; that of a request header unless given. */
  readonly maxBytes?: number;
  readonly seeds: readonly (string | Buffer)[];
  /** Words of the language, besides those of the seeds. */
  readonly words: readonly string[];
  /**
   * Runs the parser.
   *
   * @throws PassthroughError with one of `codes`, for a refused input
   * @throws any other error for a fault
   */
  readonly run: (input: Buffer) => unknown;
  /** How the parser may refuse an input. */
  readonly codes: readonly ErrorCode[];
}

/** Longest text of a refusal, in characters: a line that a console shows, and some sentences. */
const MAX_REFUSAL_CHARACTERS = 4_000;

/** What no text for a reader may hold, but for line breaks: control characters and marks that change the direction. */
const UNPRINTABLE =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the expression finds them
  /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/;

/** Memory for decoders: enough for the largest window. */
const MEMORY = new MemoryBudget({ maxBytes: 192 * 1024 * 1024, maxWaitMs: 1_000 });
const NEVER = new AbortController().signal;

const DIGEST = `sha256:${'a'.repeat(64)}`;
const MANIFEST = JSON.stringify({
  schemaVersion: 2,
  mediaType: 'application/vnd.oci.image.manifest.v1+json',
  config: { mediaType: 'application/vnd.oci.image.config.v1+json', digest: DIGEST, size: 2 },
  layers: [{ mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip', digest: DIGEST, size: 3 }],
});
const INDEX = JSON.stringify({
  schemaVersion: 2,
  manifests: [
    { digest: DIGEST, size: 4, platform: { os: 'linux', architecture: 'arm', variant: 'v7' } },
    { digest: DIGEST, size: 5, platform: { os: 'windows', architecture: 'amd64', 'os.version': '10.0.1' } },
  ],
});
const CONFIG = JSON.stringify({
  architecture: 'amd64',
  os: 'linux',
  config: { Env: ['A=b'] },
  rootfs: { type: 'layers', diff_ids: [DIGEST] },
});

export const TARGETS: readonly FuzzTarget[] = [
  {
    name: 'conditional headers',
    seeds: ['bytes=0-1', 'bytes=5-', 'bytes=-7', '"a", W/"b"', '*', 'bytes=1-2,4-5'],
    words: ['bytes', '=', '-', ',', '"', 'W/', ' ', '\t', '*'],
    codes: [],
    run: (input) => {
      const header = input.toString('latin1');
      const size = 1000;
      const range = parseRange(header, size);
      if (typeof range === 'object')
        check(0 <= range.start && range.start < range.end && range.end <= size, 'the range lies in the file');
      isMatched(header, '"a"');
      check(!mayBePartial(header, '"a"') || header.includes('"a"'), 'only the named tag fits');
    },
  },
  {
    name: 'authorization header',
    seeds: ['Basic dXNlcjpwYXNz', 'basic OnA=', 'Bearer x', `Basic ${Buffer.from('é:ß').toString('base64')}`],
    words: ['Basic', ' ', '=', ':', 'Og=='],
    codes: ['CREDENTIALS_REQUIRED'],
    run: (input) => parseBasicCredentials(input.toString('latin1')),
  },
  {
    name: 'challenges and links',
    seeds: [
      'Bearer realm="https://a/token",service="s",scope="repository:a:pull,push"',
      'Basic realm=x, Negotiate abc=, bearer realm=y',
      '</v2/a/tags/list?n=1&last=b>; rel="next", <x>; anchor="#a"; rel=next',
      'Wed, 21 Oct 2026 07:28:00 GMT',
      '120',
    ],
    words: [
      'Bearer',
      'Basic',
      'realm',
      'scope',
      '=',
      '"',
      '\\',
      ',',
      ';',
      '<',
      '>',
      'rel',
      'next',
      ' ',
      '\t',
    ],
    codes: [],
    run: (input) => {
      const header = input.toString('latin1');
      for (const { scheme, params } of parseChallenges(header)) {
        check(scheme === scheme.toLowerCase() && scheme !== '', 'a scheme is a token in lower case');
        for (const name of params.keys()) check(name === name.toLowerCase(), 'names are in lower case');
      }
      for (const { target } of parseLinks(header))
        check(header.includes(target), 'a target is of the header');
      const seconds = retryAfterSeconds(header);
      check(seconds === undefined || (Number.isFinite(seconds) && seconds >= 0), 'a wait is a number');
    },
  },
  {
    name: 'request target',
    seeds: [
      'docker/nginx_latest.tar',
      'platform/linux/arm/v7/registry/https/example.com%3A5000/oci/a__b_1.tar.gz.sha256?arch=linux/amd64',
      'ghcr.io/org/app:1.2?name=x&format=tar&layout=oci',
      'bundle.tgz?image=a:1&image=b:2',
      'manifest/a@sha256:0?type=index',
      'prepare/docker/a_1.tar',
      'preparations/0',
    ],
    words: [
      '/',
      '%2F',
      '%00',
      '..',
      '_',
      '__',
      ':',
      '@',
      '?',
      '&',
      '=',
      'platform',
      'registry',
      'docker',
      '.tar',
      '%e9',
    ],
    codes: [
      'INVALID_FILENAME',
      'INVALID_PLATFORM',
      'INVALID_REGISTRY',
      'INVALID_REFERENCE',
      'NOT_FOUND',
      'UNKNOWN_PARAMETER',
    ],
    run: (input) => findRoute(`/${input.toString('latin1').replaceAll(/[^\x21-\x7e]/g, '')}`).route.kind,
  },
  {
    name: 'names: files, references, platforms, hosts',
    seeds: ['a_1.tar', 'team__app_2.0.tgz.md5', 'docker.io/a/b:1', `a@${DIGEST}`, 'linux/arm/v7', '[::1]:80'],
    words: [
      '_',
      '__',
      '.',
      '-',
      '/',
      ':',
      '@',
      'sha256:',
      'linux',
      'latest',
      'library',
      '.tar',
      'é',
      '\u009b',
    ],
    codes: ['INVALID_FILENAME', 'INVALID_REFERENCE', 'INVALID_PLATFORM', 'INVALID_REGISTRY'],
    run: (input) => {
      const text = input.toString('utf8');
      const outcomes = [
        attempt(() => parseFilename(text, 'library')),
        attempt(() => parseReference(text)),
        attempt(() => {
          const platform = parsePlatform(text);
          const again = parsePlatform(formatPlatform(platform));
          check(formatPlatform(again) === formatPlatform(platform), 'a platform is parsed as it is written');
        }),
        attempt(() => parseHost(text)),
      ];
      // All refusals are looked at; the last is thrown for the check of its code.
      for (const outcome of outcomes) if (outcome !== undefined) checkRefusal(outcome);
    },
  },
  {
    name: 'descriptors: manifests and indexes',
    maxBytes: 256 * 1024,
    seeds: [MANIFEST, INDEX],
    words: [
      '{',
      '}',
      '[',
      ']',
      '"',
      ':',
      ',',
      'null',
      'true',
      '"urls":["http://a/"]',
      '"size"',
      '"\u202e"',
      '"layers"',
    ],
    codes: ['UNSUPPORTED_IMAGE', 'VERIFICATION_FAILED'],
    run: (input) => parseManifest(input, 'application/json', { artifacts: true }),
  },
  {
    name: 'image configs',
    maxBytes: 256 * 1024,
    seeds: [CONFIG],
    words: ['{', '}', '[', ']', '"', ':', ',', 'null', '"diff_ids"', '"os.version"', '"variant"'],
    codes: ['UNSUPPORTED_IMAGE', 'VERIFICATION_FAILED'],
    run: (input) => parseImageConfig(input, 1),
  },
  {
    name: 'compressed layers',
    maxBytes: 64 * 1024,
    seeds: [
      gzipSync('some text'),
      zstdCompressSync('some text'),
      Buffer.concat([gzipSync('one'), gzipSync('two')]),
      Buffer.concat([Buffer.from([0x50, 0x2a, 0x4d, 0x18, 1, 0, 0, 0, 7]), zstdCompressSync('x')]),
      Buffer.from('neither'),
    ],
    words: [
      '\x1f\x8b\x08',
      '\x28\xb5\x2f\xfd',
      '\x50\x2a\x4d\x18',
      'BZh91AY',
      '\xfd7zXZ\0',
      '\x00\x00\x00\x00',
    ],
    codes: ['UNSUPPORTED_IMAGE', 'VERIFICATION_FAILED', 'IMAGE_TOO_LARGE'],
    run: async (input) => {
      // The stream takes its chunks over, so it gets a copy.
      const unpacked = (length: number) => {
        const chunks = chunksOf(Buffer.from(input), length);
        return bytesOf(decompressed(chunks, 'layer', { memory: MEMORY, signal: NEVER }));
      };
      const whole = await unpacked(input.length || 1);
      const parts = await unpacked(251);
      check(MEMORY.used === 0, 'memory is given back');
      check(whole === parts, 'the chunks of a stream do not matter');
    },
  },
  {
    name: 'tar reader',
    maxBytes: 64 * 1024,
    seeds: [
      rawTar({ name: 'a', content: Buffer.from('text') }),
      rawTar(paxEntry({ path: 'p'.repeat(200), size: '3' }), { name: 'a', content: Buffer.from('abc') }),
      rawTar(gnuLong('L', 'n'.repeat(200)), { name: 'a' }),
      rawTar({ name: 'a', size: base256(3n), content: Buffer.from('abc') }),
    ],
    words: [
      'ustar\0' + '00',
      'ustar  \0',
      '\0',
      '0000644\0',
      'x',
      'g',
      'L',
      'K',
      '12 path=abc\n',
      '9 size=1\n',
    ],
    codes: ['INVALID_ARCHIVE', 'IMAGE_TOO_LARGE'],
    run: async (input) => {
      const archive = withChecksums(input);
      const whole = await entriesOf(archive, archive.length || 1);
      check(whole === (await entriesOf(archive, 61)), 'the chunks of a stream do not matter');
    },
  },
  {
    name: 'archives',
    maxBytes: 128 * 1024,
    seeds: Object.values(FLAVOURS).map(({ files }) => tarOf(files)),
    words: [
      'manifest.json',
      'index.json',
      '"Config"',
      '"Layers"',
      '"RepoTags"',
      'null',
      '../',
      '/',
      'sha256:',
      '\0',
      '{',
      '}',
    ],
    codes: ['INVALID_ARCHIVE', 'UNSUPPORTED_IMAGE', 'VERIFICATION_FAILED', 'IMAGE_TOO_LARGE'],
    run: async (input) => {
      const archive = withChecksums(input);
      const report = JSON.stringify(await verify(archive));
      const streamed = JSON.stringify(await verify(chunksOf(archive, 4096)));
      check(report === streamed, 'a file and a stream give the same');
    },
  },
  {
    name: 'tar writer',
    maxBytes: 2 * 1024,
    seeds: ['a', 'dir/file', 'é'.repeat(60), `${'d/'.repeat(80)}f`, 'x'.repeat(101)],
    words: ['/', 'é', '漢', 'x'.repeat(100), '\0', '..'],
    codes: ['INTERNAL', 'UNSUPPORTED_IMAGE'],
    run: async (input) => {
      const name = input.toString('utf8');
      const size = input.length * 7;
      const content = Buffer.alloc(size, input.length === 0 ? 0 : input);
      const entries: readonly TarSource[] = [{ name, type: 'file', size, content }];
      const whole = Buffer.concat(await Array.fromAsync(encodeTar(entries), (chunk) => Buffer.from(chunk)));
      check(whole.length === tarSize(entries) && whole.length % 512 === 0, 'the size is the computed one');
      const start = (input[0] ?? 0) % whole.length;
      const part = await Array.fromAsync(encodeTar(entries, { start, end: whole.length }), (chunk) =>
        Buffer.from(chunk),
      );
      check(Buffer.concat(part).equals(whole.subarray(start)), 'a range is a part of the whole');
    },
  },
];

/**
 * Runs a target with an input.
 *
 * @throws Error for a fault: another error than a refusal, or a refusal that must not be shown as it is
 */
export async function runTarget(target: FuzzTarget, input: Buffer): Promise<void> {
  try {
    await target.run(input);
  } catch (error) {
    if (!isPassthroughError(error, ...target.codes) || target.codes.length === 0) throw error;
    checkRefusal(error);
  }
}

/** A refusal is short and holds nothing that a console would act on, in each of its forms. */
function checkRefusal(error: unknown): void {
  const problem = problemOf(error);
  const text = formatText(problem, { requestId: 'id', image: undefined });
  check(text.length <= MAX_REFUSAL_CHARACTERS, `a refusal has ${text.length} characters`);
  for (const shown of [
    text,
    formatJson(problem, { requestId: 'id', image: undefined }),
    problem.error.message,
  ])
    check(!UNPRINTABLE.test(shown), `a refusal holds what is not printable: ${JSON.stringify(shown)}`);
}

/** The refusal of a parser; any other error is thrown. */
function attempt(parse: () => unknown): unknown {
  try {
    parse();
    return undefined;
  } catch (error) {
    if (!isPassthroughError(error)) throw error;
    return error;
  }
}

function check(isTrue: boolean, what: string): void {
  if (!isTrue) throw new Error(`This does not hold: ${what}`);
}

/** Corrects the checksums of headers: with a wrong one, hardly an input would be read further than its first block. */
function withChecksums(input: Buffer): Buffer {
  const archive = Buffer.from(input);
  for (let start = 0; start + 512 <= archive.length; start += 512) {
    const header = archive.subarray(start, start + 512);
    if (header.toString('latin1', 257, 262) !== 'ustar') continue;
    header.write('        ', 148, 'latin1');
    const sum = header.reduce((total, byte) => total + byte, 0);
    header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  }
  return archive;
}

/** The entries of an archive as text, or the code of its refusal. */
async function entriesOf(input: Buffer, length: number): Promise<string> {
  const seen: unknown[] = [];
  try {
    for await (const { content, ...entry } of readTar(new StreamCursor(chunksOf(input, length)))) {
      const hash = createHash('sha256');
      for await (const chunk of content()) hash.update(chunk);
      seen.push({ ...entry, content: hash.digest('hex') });
    }
  } catch (error) {
    if (!isPassthroughError(error)) throw error;
    seen.push(error.message);
  }
  return JSON.stringify(seen);
}

async function* chunksOf(bytes: Buffer, length: number): AsyncGenerator<Uint8Array> {
  for (let start = 0; start < bytes.length; start += length)
    yield Uint8Array.prototype.slice.call(bytes, start, start + length);
}

/** A digest of a stream, or the code of its refusal. */
async function bytesOf(stream: AsyncIterable<Uint8Array>): Promise<string> {
  const hash = createHash('sha256');
  try {
    for await (const chunk of stream) hash.update(chunk);
  } catch (error) {
    if (!isPassthroughError(error)) throw error;
    return error.code;
  }
  return hash.digest('hex');
}
