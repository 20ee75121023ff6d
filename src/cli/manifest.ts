import { archiveRequest, checkPackage } from '../pull/request.ts';
import type { ManifestChoice } from '../pull/resolve-manifest.ts';
import { printableLines } from '../util/printable.ts';
import type { CommandCall } from './command.ts';
import { type NamedImages, openImages, readImages } from './options/images.ts';
import { misuse } from './options/parse.ts';
import { readPlatform } from './options/platform.ts';
import { readSizing } from './options/sizing.ts';
import { interruptible } from './output/interrupt.ts';
import { print } from './output/print.ts';

/** Longest line on a terminal, in characters: a label may hold a text. */
const MAX_LINE_LENGTH = 10_000;

/** Most lines that `String.split` can be told. */
const ALL_LINES = 2 ** 32 - 1;

/** The `manifest` command, and `pull --manifest`. */
export async function run(call: CommandCall): Promise<number> {
  const { options, positionals } = call;
  const named = readImages(positionals.slice(0, 1), call);
  if (call.options.text('layout') === 'iox') return await printDescriptor(named, call);
  if (readSizing(call.options) !== undefined)
    throw misuse('Cannot use --profile: only a package has a size', 'Add --layout iox');
  const choice = readChoice(call);
  return await interruptible(async (signal) => {
    await using opened = await openImages(named, call, signal);
    const [image] = named.images;
    if (image === undefined) return 0;
    const { digest, mediaType, content } = await opened.service.manifest(image, choice, opened.call);
    try {
      if (options.has('digest')) return await print(`${digest} ${mediaType} ${content.size}\n`);
      return await print(shown(await content.readWhole()));
    } finally {
      content.release();
    }
  });
}

/** `--layout iox`: the descriptor, and on standard error the labels that it leaves out. */
async function printDescriptor(named: NamedImages, call: CommandCall): Promise<number> {
  const { options } = call;
  for (const name of ['manifest', 'digest'])
    if (options.has(name)) throw misuse(`Cannot use --${name}: --layout iox prints a descriptor`);
  const { platform, isAsked } = readPlatform(options);
  const [image] = named.images;
  if (image === undefined) return 0;
  const request = archiveRequest([image], { platform, layout: 'iox', sizing: readSizing(options) });
  checkPackage(request);
  return await interruptible(async (signal) => {
    await using opened = await openImages(named, call, signal);
    const { yaml, leftOut } = await opened.service.descriptor(
      { ...request, isPlatformAsked: isAsked },
      opened.call,
    );
    if (leftOut.length > 0) process.stderr.write(`Labels that were left out: ${leftOut.join(', ')}\n`);
    return await print(yaml);
  });
}

/** `--manifest list` is the index; a platform that is named asks for the manifest of this platform. */
function readChoice({ options }: CommandCall): ManifestChoice {
  const { platform, isAsked } = readPlatform(options);
  const which = options.text('manifest');
  if (which === 'list') return { type: 'index', platform: undefined };
  if (platform === 'all') throw misuse('Cannot use --platform all: a manifest is that of one platform');
  if (which === undefined && !isAsked) return { type: undefined, platform: undefined };
  return { type: 'image', platform: { platform, isPlatformAsked: isAsked } };
}

/** Byte for byte to a file or pipe, so that its digest stays right; indented to a terminal. */
function shown(bytes: Uint8Array): string | Uint8Array {
  if (process.stdout.isTTY !== true) return bytes;
  const text = JSON.stringify(JSON.parse(Buffer.from(bytes).toString('utf8')), null, 2);
  return `${printableLines(text, MAX_LINE_LENGTH, ALL_LINES)}\n`;
}
