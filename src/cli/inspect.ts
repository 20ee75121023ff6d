import { isPassthroughError, PassthroughError } from '../errors.ts';
import type { PackageReport } from '../tarball/read/iox-package.ts';
import { type ArchiveReport, type ImageReport, verify } from '../tarball/verify.ts';
import { printable, printableJson, printableLines } from '../util/printable.ts';
import { formatBytes } from '../util/text/format-bytes.ts';
import type { CommandCall } from './command.ts';
import { interruptible } from './output/interrupt.ts';
import { print } from './output/print.ts';

/** Longest path in a message, in characters. */
const MAX_PATH_LENGTH = 4096;

/** Longest line of a descriptor, in characters, and most lines. */
const MAX_LINE_LENGTH = 4096;
const MAX_LINES = 10_000;

/** The `inspect` command. */
export async function run({ options, positionals }: CommandCall): Promise<number> {
  const [file = ''] = positionals;
  const report = await interruptible((signal) => inspect(file, signal));
  return await print(options.has('json') ? `${printableJson(report)}\n` : textOf(report));
}

/** @throws PassthroughError `INVALID_ARCHIVE` naming the file, and the entry where one is at fault; `ABORTED` */
async function inspect(file: string, signal: AbortSignal): Promise<ArchiveReport> {
  try {
    return await verify(file === '-' ? process.stdin : file, { signal });
  } catch (cause) {
    if (isPassthroughError(cause, 'ABORTED')) throw cause;
    const name = file === '-' ? 'standard input' : printable(file, MAX_PATH_LENGTH);
    const message = cause instanceof Error ? cause.message : String(cause);
    throw new PassthroughError('INVALID_ARCHIVE', `${name}: ${message}`, { cause });
  }
}

function textOf({ images, package: around }: ArchiveReport): string {
  const parts = [...images.map(describe), ...(around === undefined ? [] : [describePackage(around)])];
  return `${parts.join('\n\n')}\n`;
}

function describePackage({ descriptor, files }: PackageReport): string {
  const lines = files.map(({ name, size, digest, isListed }) => {
    const listed = isListed ? '' : ', not in package.mf';
    return `  ${printable(name)}  ${digest}  ${formatBytes(size)}${listed}`;
  });
  return [
    'package   Cisco IOx',
    ...lines,
    '',
    printableLines(descriptor.trimEnd(), MAX_LINE_LENGTH, MAX_LINES),
  ].join('\n');
}

function describe({ tags, config, platform, layers }: ImageReport): string {
  const size = formatBytes(layers.reduce((sum, layer) => sum + layer.size, 0));
  return [
    `image     ${tags.length === 0 ? 'without a name' : tags.map((tag) => printable(tag)).join(', ')}`,
    `config    ${config}`,
    `platform  ${printable(platform)}`,
    `layers    ${layers.length}, ${size}`,
    ...layers.map((layer) => `  ${layer.diffId}  ${formatBytes(layer.size)}`),
  ].join('\n');
}
