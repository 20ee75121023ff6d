import { PassthroughError } from '../errors.ts';
import { quoted } from '../util/printable.ts';
import { nearest } from '../util/text/nearest.ts';
import { type Platform, parsePlatformChoice } from './platform.ts';

/** A family or model of devices. A request may name it in place of its platform. */
export interface Device {
  /** The name in requests, in lower case. */
  readonly name: string;
  readonly title: string;
  readonly platform: Platform;
  /** Whether a Docker archive is not known to work as it is, so that the device wants a package; see docs/cisco-iox.md. */
  readonly wantsPackage: boolean;
  /** A restriction of the device on images. */
  readonly note?: string;
}

const ARM64: Platform = Object.freeze({ os: 'linux', architecture: 'arm64' });
const AMD64: Platform = Object.freeze({ os: 'linux', architecture: 'amd64' });

/** IR800: https://developer.cisco.com/docs/iox/application-development */
const FEW_LAYERS = 'takes at most 42 layers per image';

/**
 * Cisco devices that run containers. Only devices whose processor Cisco documents are listed:
 *
 * - IoT: https://developer.cisco.com/docs/iox/platform-support-matrix, column "CPU Architecture"
 * - Catalyst 9300 to 9600, "powered by an x86 CPU":
 *   https://www.cisco.com/c/dam/en/us/products/collateral/switches/catalyst-9300-series-switches/white-paper-c87-742415.pdf
 *
 * `cat9k` does not include Catalyst 9200, which runs no applications, and the access points of the 9100 family, which have
 * another architecture:
 * https://www.cisco.com/c/en/us/td/docs/ios-xml/ios/prog/configuration/1711/b_1711_programmability_cg/m_1711_prog_app_hosting.html
 */
export const DEVICES: readonly Device[] = Object.freeze([
  { name: 'ir1101', title: 'Cisco IR1101', wantsPackage: false, platform: ARM64 },
  { name: 'ir1800', title: 'Cisco IR1800 series', wantsPackage: true, platform: ARM64 },
  { name: 'ir1821', title: 'Cisco IR1821', wantsPackage: true, platform: ARM64 },
  { name: 'ir1831', title: 'Cisco IR1831', wantsPackage: true, platform: ARM64 },
  { name: 'ir1833', title: 'Cisco IR1833', wantsPackage: true, platform: ARM64 },
  { name: 'ir1835', title: 'Cisco IR1835', wantsPackage: true, platform: ARM64 },
  { name: 'cat9k', title: 'Cisco Catalyst 9300 to 9600', wantsPackage: false, platform: AMD64 },
  { name: 'cat9300', title: 'Cisco Catalyst 9300', wantsPackage: false, platform: AMD64 },
  { name: 'cat9400', title: 'Cisco Catalyst 9400', wantsPackage: false, platform: AMD64 },
  { name: 'cat9500', title: 'Cisco Catalyst 9500', wantsPackage: false, platform: AMD64 },
  { name: 'cat9600', title: 'Cisco Catalyst 9600', wantsPackage: false, platform: AMD64 },
  { name: 'ir8340', title: 'Cisco IR8340', wantsPackage: true, platform: AMD64 },
  { name: 'c8000v', title: 'Cisco C8000V', wantsPackage: false, platform: AMD64 },
  { name: 'ie3300', title: 'Cisco IE3300', wantsPackage: true, platform: ARM64 },
  { name: 'ie3400', title: 'Cisco IE3400', wantsPackage: true, platform: ARM64 },
  { name: 'ie3500', title: 'Cisco IE3500', wantsPackage: false, platform: ARM64 },
  { name: 'ic3000', title: 'Cisco IC3000', wantsPackage: true, platform: AMD64 },
  { name: 'ir800', title: 'Cisco IR800 series', wantsPackage: true, platform: AMD64, note: FEW_LAYERS },
  { name: 'ir809', title: 'Cisco IR809', wantsPackage: true, platform: AMD64, note: FEW_LAYERS },
  { name: 'ir829', title: 'Cisco IR829', wantsPackage: true, platform: AMD64, note: FEW_LAYERS },
]);

const PLATFORMS: ReadonlyMap<string, Platform> = new Map(
  DEVICES.map(({ name, platform }) => [name, platform]),
);

/**
 * The platform of a device.
 *
 * @param name one of {@link DEVICES}, in any case
 * @returns `undefined` for any other name
 */
export function devicePlatform(name: string): Platform | undefined {
  return PLATFORMS.get(name.toLowerCase());
}

/**
 * Reads what a user names as a platform: a platform, a device, or `all`.
 *
 * @throws PassthroughError `INVALID_PLATFORM`; for a word, with the nearest device or all of them
 */
export function parseNamedPlatform(text: string): Platform | 'all' {
  const device = devicePlatform(text);
  if (device !== undefined) return device;
  if (text.includes('/') || text.toLowerCase() === 'all') return parsePlatformChoice(text);
  const names = DEVICES.map(({ name }) => name);
  // One edit makes another model of a family: the hint asks, and takes none by itself.
  const meant = nearest(text.toLowerCase(), names, ({ length }) => Math.floor(length / 2));
  throw new PassthroughError(
    'INVALID_PLATFORM',
    `Cannot parse platform ${quoted(text)}: expected os/arch, os/arch/variant or a device, such as linux/arm64 or ir1101`,
    { hints: [`${meant === undefined ? '' : `Did you mean ${meant}? `}Devices: ${names.join(', ')}`] },
  );
}
