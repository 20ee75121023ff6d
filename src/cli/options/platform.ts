import { endianness } from 'node:os';
import { parseNamedPlatform } from '../../image/device.ts';
import { formatPlatform, type Platform } from '../../image/platform.ts';
import { misuse, type ParsedOptions } from './parse.ts';

/** Names of Go for the names of Node, where they differ: https://nodejs.org/api/process.html#processarch */
const ARCHITECTURES: Readonly<Record<string, string>> = { x64: 'amd64', ia32: '386', mipsel: 'mipsle' };

/** The platform of a command line. */
export interface PlatformOption {
  readonly platform: Platform | 'all';
  /** Whether the command line names it; else it is that of this machine. */
  readonly isAsked: boolean;
}

/**
 * Reads `--platform`, or `--os` and `--arch`. What is left out is that of this machine.
 *
 * @throws PassthroughError `INVALID_PLATFORM`; `INVALID_CONFIGURATION` if both ways name different ones
 */
export function readPlatform(options: ParsedOptions): PlatformOption {
  const [text, os, arch] = ['platform', 'os', 'arch'].map((name) => options.text(name));
  if (text === undefined && os === undefined && arch === undefined)
    return { platform: machinePlatform(), isAsked: false };
  const machine = machinePlatform();
  const platform =
    text === undefined
      ? parseNamedPlatform(`${os ?? machine.os}/${arch ?? machine.architecture}`)
      : parseNamedPlatform(text);
  if (text !== undefined && (os !== undefined || arch !== undefined)) {
    const other =
      platform === 'all' ? platform : parseNamedPlatform(`${os ?? platform.os}/${arch ?? archOf(platform)}`);
    if (platform === 'all' || other === 'all' || formatPlatform(platform) !== formatPlatform(other)) {
      throw misuse('Cannot use --platform: --os or --arch names another one', 'Give one of both forms');
    }
  }
  return { platform, isAsked: true };
}

function archOf({ architecture, variant }: Platform): string {
  return variant === undefined ? architecture : `${architecture}/${variant}`;
}

/**
 * The platform of this machine. On macOS it is Linux: no images are made for macOS, and containers run in a virtual machine with
 * Linux there.
 */
export function machinePlatform(): Platform {
  const os = { win32: 'windows', darwin: 'linux' }[process.platform as string] ?? process.platform;
  const architecture =
    process.arch === 'ppc64' && endianness() === 'LE'
      ? 'ppc64le'
      : (ARCHITECTURES[process.arch] ?? process.arch);
  return { os, architecture };
}
