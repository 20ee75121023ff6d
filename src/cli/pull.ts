import { stat } from 'node:fs/promises';
import { isLayout } from '../archive/archive.ts';
import { LAYOUT_TABLE } from '../archive/layouts.ts';
import { isPassthroughError } from '../errors.ts';
import { formatPlatform } from '../image/platform.ts';
import { formatReference } from '../image/reference.ts';
import type { Progress } from '../pull/progress.ts';
import {
  type ArchiveRequest,
  archiveRequest,
  checkPackage,
  type ImageRequest,
  renamed,
  updateOf,
} from '../pull/request.ts';
import type { ResolvedArchive } from '../pull/resolve-archive.ts';
import { printable, printableJson, quoted } from '../util/printable.ts';
import { formatBytes } from '../util/text/format-bytes.ts';
import type { CommandCall } from './command.ts';
import { type NamedImages, openImages, readImages } from './options/images.ts';
import { misuse, type ParsedOptions } from './options/parse.ts';
import { type PlatformOption, readPlatform } from './options/platform.ts';
import { readSizing } from './options/sizing.ts';
import { interruptible } from './output/interrupt.ts';
import { print, write } from './output/print.ts';
import { pullToOutput, refuseTerminal } from './output/standard-output.ts';
import { formatSeconds } from './progress/format.ts';
import { openReporter, SILENT } from './progress/reporter.ts';

/** Options that `--parsed` does not show. */
const HIDDEN = new Set(['password', 'parsed']);

/** Longest path in the summary, in characters. */
const MAX_PATH_LENGTH = 4096;

/** Operands of the command line: the images, and the file. */
interface Operands {
  readonly references: readonly string[];
  readonly file: string | undefined;
}

/** The `pull` command. */
export async function run(call: CommandCall): Promise<number> {
  const { options } = call;
  const operands = readOperands(call);
  if (options.has('parsed')) return await print(parsedText(operands, options));
  if (options.has('manifest')) {
    const { run: runManifest } = await import('./manifest.ts');
    return await runManifest({ ...call, positionals: operands.references });
  }
  return await pull(operands, call);
}

/** Without `--file` the last operand is the file. `--manifest` needs none. */
function readOperands({ options, positionals }: CommandCall): Operands {
  const usage = 'Write: pull REF FILE, or pull REF REF… -f FILE; - is standard output';
  const named = options.text('file');
  if (positionals.length === 0) throw misuse('Cannot pull: the image is missing', usage);
  if (options.has('manifest')) {
    const references =
      named === undefined && positionals.length === 2 ? positionals.slice(0, 1) : positionals;
    if (references.length > 1) throw misuse('Cannot use --manifest: it is for one image', usage);
    return { references, file: undefined };
  }
  if (named !== undefined) return { references: positionals, file: named };
  if (positionals.length === 1) throw misuse('Cannot pull: the file is missing', usage);
  if (positionals.length > 2) throw misuse('Cannot pull several images: --file is missing', usage);
  return { references: positionals.slice(0, 1), file: positionals[1] };
}

function parsedText({ references, file }: Operands, options: ParsedOptions): string {
  const { platform } = readPlatform(options);
  const { os, architecture, variant } = platform === 'all' ? { os: 'all', architecture: 'all' } : platform;
  const parsed = {
    references,
    ...(file !== undefined && { file }),
    ...Object.fromEntries(options.entries.filter(([name]) => !HIDDEN.has(name))),
    os,
    arch: variant === undefined ? architecture : `${architecture}/${variant}`,
  };
  return `${printableJson(parsed)}\n`;
}

async function pull({ references, file = '-' }: Operands, call: CommandCall): Promise<number> {
  const { options, environment } = call;
  const named = withBase(readImages(references, call), options.text('since'));
  const platform = readPlatform(options);
  const request = readRequest(named.images, { file, platform, options });
  if (file === '-') await refuseTerminal();
  else await checkFile(file);
  const isQuiet = options.has('quiet');
  return await interruptible(async (signal) => {
    const startedAt = performance.now();
    await using opened = await openImages(named, call, signal, options.text('cache'));
    const { TERM } = environment;
    const subject = request.images.map(({ reference }) => formatReference(reference)).join(', ');
    const reporter = isQuiet ? SILENT : openReporter(printable(subject), TERM);
    const { service } = opened;
    const pullOptions = { ...opened.call, onProgress: (progress: Progress) => reporter.update(progress) };
    const writeArchive = (asked: ArchiveRequest) =>
      file === '-' ? pullToOutput(service, asked, pullOptions) : service.pullTo(asked, file, pullOptions);
    let pulled: PulledImages;
    try {
      pulled = await forAnyPlatform(request, platform, writeArchive);
    } finally {
      reporter.stop();
    }
    const seconds = (performance.now() - startedAt) / 1000;
    if (!isQuiet) await write(process.stderr, summaryOf(pulled, file, seconds));
    return 0;
  });
}

/** Checks the file before the registry is asked: an image may take minutes. */
async function checkFile(path: string): Promise<void> {
  const found = await stat(path).catch(() => undefined);
  if (found?.isDirectory() === true)
    throw misuse(`Cannot write ${quoted(path, MAX_PATH_LENGTH)}: it is a folder`, 'Name a file in it');
  const { checkTarget } = await import('../pull/direct/partial-file.ts');
  const { kind } = await checkTarget(path);
  if (kind === 'device') await refuseTerminal(path);
}

function readRequest(
  images: readonly ImageRequest[],
  {
    file,
    platform,
    options,
  }: { readonly file: string; readonly platform: PlatformOption; readonly options: ParsedOptions },
): ArchiveRequest {
  const layout = options.text('layout') ?? 'docker';
  if (!isLayout(layout)) throw misuse(`Cannot use --layout=${layout}`);
  if (platform.platform === 'all' && !LAYOUT_TABLE[layout].holdsIndexes) {
    throw misuse(
      `Cannot put all platforms into layout ${layout}: only layout oci holds more than one`,
      'Add --layout oci',
    );
  }
  const format = options.text('format') ?? (/\.(?:tgz|tar\.gz)$/i.test(file) ? 'tgz' : 'tar');
  const name = options.text('name');
  const sizing = readSizing(options);
  const [first, ...more] = name === undefined ? images : images.map((image) => withName(image, name));
  if (first === undefined || (name !== undefined && more.length > 0))
    throw misuse('Cannot use --name: it is for one image');
  const request = archiveRequest([first, ...more], {
    platform: platform.platform,
    layout,
    sizing,
    compression: format === 'tgz' ? 'gzip' : 'none',
  });
  checkPackage(request);
  return request;
}

/** Makes the image an update, if a base is named. */
function withBase({ images, settings }: NamedImages, since: string | undefined): NamedImages {
  if (since === undefined) return { images, settings };
  if (images.length > 1) throw misuse('Cannot use --since: it is for one image');
  const base = since.replace(/^docker:\/\//, '');
  return { images: images.map((image) => updateOf(image, base)), settings };
}

function withName(image: ImageRequest, name: string): ImageRequest {
  return { ...image, name: renamed(name, image.reference) };
}

/** An archive that was written. */
interface PulledImages {
  readonly resolved: ResolvedArchive;
  /** Bytes. */
  readonly size: number;
  /** The only platform that is there, if it is not the one of this machine. */
  readonly otherPlatform?: string | undefined;
  /** Labels that the descriptor of a package does not have. */
  readonly leftOut?: readonly string[];
}

/** Without a platform on the command line, an image for a single other platform is what the user wants, most likely. */
async function forAnyPlatform(
  request: ArchiveRequest,
  { isAsked }: PlatformOption,
  work: (request: ArchiveRequest) => Promise<PulledImages>,
): Promise<PulledImages> {
  try {
    return await work({ ...request, isPlatformAsked: true });
  } catch (error) {
    if (isAsked || !isPassthroughError(error, 'PLATFORM_NOT_FOUND') || error.details.base !== undefined)
      throw error;
    const [otherPlatform, ...more] = error.details.offered ?? [];
    if (otherPlatform === undefined || more.length > 0) throw error;
    return { ...(await work({ ...request, isPlatformAsked: false })), otherPlatform };
  }
}

function summaryOf(
  { resolved, size, otherPlatform, leftOut = [] }: PulledImages,
  file: string,
  seconds: number,
): string {
  const images = resolved.images.map(({ request: { reference }, manifest, base }) => {
    const facts = [otherPlatform ?? platformText(manifest, resolved.request), manifest.digest].filter(
      (fact) => fact !== '',
    );
    if (base !== undefined) facts.push(`since ${formatReference(base.reference)}, ${base.manifest.digest}`);
    return `${printable(formatReference(reference))} (${printable(facts.join(', '))})`;
  });
  const place = file === '-' ? 'standard output' : printable(file, MAX_PATH_LENGTH);
  const labels = leftOut.length === 0 ? '' : `Labels that were left out: ${leftOut.join(', ')}\n`;
  return `Pulled ${images.join(', ')} to ${place}: ${formatBytes(size)} in ${formatSeconds(seconds)}\n${labels}`;
}

function platformText(
  { manifest, config }: ResolvedArchive['images'][number]['manifest'],
  { platform }: ArchiveRequest,
): string {
  if (manifest.kind === 'index' || platform === 'all') return 'all platforms';
  if (manifest.kind === 'artifact') return '';
  return formatPlatform(config?.image?.platform ?? platform);
}
