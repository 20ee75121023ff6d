import { endianness } from 'node:os';
import type { Platform } from '../image/platform.ts';

/** Go's names of the systems and architectures that Node names otherwise. */
const SYSTEMS: Readonly<Record<string, string>> = { win32: 'windows', sunos: 'solaris' };
const ARCHITECTURES: Readonly<Record<string, string>> = { x64: 'amd64', ia32: '386', mipsel: 'mipsle' };

/**
 * The platform of this machine in Go's names, as images name theirs: `linux/amd64`.
 *
 * @param system as in `process.platform`
 * @param architecture as in `process.arch`
 */
export function machinePlatform(
  system: string = process.platform,
  architecture: string = process.arch,
): Platform {
  const isLittlePower = architecture === 'ppc64' && endianness() === 'LE';
  return {
    os: SYSTEMS[system] ?? system,
    architecture: isLittlePower ? 'ppc64le' : (ARCHITECTURES[architecture] ?? architecture),
  };
}
