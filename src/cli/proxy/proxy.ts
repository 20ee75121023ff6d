import type { CommandCall } from '../command.ts';
import { openImages, readImages } from '../options/images.ts';
import { misuse, type ParsedOptions } from '../options/parse.ts';
import { readPlatform } from '../options/platform.ts';
import { interruptible } from '../output/interrupt.ts';
import { print } from '../output/print.ts';
import { listenError } from '../start-error.ts';
import { passedSocket } from './passed-socket.ts';
import { ProxiedImage } from './proxied-image.ts';
import { ProxyServer } from './proxy-server.ts';

/** Greatest port, and greatest file descriptor: that of an `int`. */
const MAX_PORT = 65_535;
const MAX_DESCRIPTOR = 2 ** 31 - 1;

/** The `proxy` command. */
export async function run(call: CommandCall): Promise<number> {
  const { options, positionals } = call;
  const port = readNumber(options, 'port', MAX_PORT);
  const descriptor = readNumber(options, 'sockfd', MAX_DESCRIPTOR);
  if (port !== undefined && descriptor !== undefined)
    throw misuse('Cannot use --port: --sockfd is given, too');
  if (descriptor === 0 && options.has('password-stdin'))
    throw misuse('Cannot use --password-stdin: standard input is the socket of --sockfd');
  const named = readImages(positionals, call);
  const { platform, isAsked } = readPlatform(options);
  if (platform === 'all') throw misuse('Cannot use --platform all: a manifest is that of one platform');
  const [image] = named.images;
  if (image === undefined) return 0;
  return await interruptible(async (signal) => {
    await using opened = await openImages(named, call, signal);
    const choice = { platform, isPlatformAsked: isAsked };
    const server = new ProxyServer(new ProxiedImage(opened.service, image, choice, opened.call), signal);
    if (descriptor !== undefined) {
      await server.serve(passedSocket(descriptor));
      return 0;
    }
    const ended = await listen(server, port ?? 0);
    await print(`http://127.0.0.1:${server.port}\n`);
    await ended();
    return 0;
  });
}

/** @throws PassthroughError `INVALID_CONFIGURATION` naming the option */
async function listen(server: ProxyServer, port: number): Promise<() => Promise<void>> {
  try {
    return await server.listen(port);
  } catch (error) {
    throw listenError(error, `--port=${port}`);
  }
}

function readNumber(options: ParsedOptions, name: string, max: number): number | undefined {
  const text = options.text(name);
  if (text === undefined) return undefined;
  if (/^\d{1,10}$/.test(text) && Number(text) <= max) return Number(text);
  throw misuse(`Cannot use --${name}: expected a number from 0 to ${max}`);
}
