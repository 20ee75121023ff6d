import { PassthroughError } from '../../errors.ts';
import { quoted } from '../../util/printable.ts';
import { nearest } from '../../util/text/nearest.ts';

/** The versions of Cisco's schema for descriptors that can be written, oldest first. */
export const SCHEMA_VERSIONS = ['2.2', '2.8', '2.10', '2.12', '2.17'] as const;

/** One of `SCHEMA_VERSIONS`. */
export type SchemaVersion = (typeof SCHEMA_VERSIONS)[number];

/** Algorithms of the digests in `package.mf`; `none` leaves the file out. */
export const PACKAGE_DIGESTS = ['sha256', 'sha1', 'none'] as const;

/** One of `PACKAGE_DIGESTS`. */
export type PackageDigest = (typeof PACKAGE_DIGESTS)[number];

/**
 * The profiles that every device knows, and two words.
 *
 * @see https://developer.cisco.com/docs/iox/application-resource-profiles
 */
export const PROFILES = [
  'c1.tiny',
  'c1.small',
  'c1.medium',
  'c1.large',
  'c1.xlarge',
  'default',
  'exclusive',
] as const;

/** How packages are made, unless an image or a request says otherwise. */
export interface IoxSettings {
  /** One of `PROFILES`. */
  readonly profile: string;
  readonly schemaVersion: SchemaVersion;
  /** Whether labels that open the device to the application are taken. */
  readonly allowsPrivileged: boolean;
  readonly digest: PackageDigest;
}

/** What an application gets of its device: a profile, or for `custom` the numbers. */
export interface IoxSizing {
  /** One of `PROFILES`, or `custom`. */
  readonly profile: string;
  /** CPU units. */
  readonly cpu?: number;
  /** MB. */
  readonly memory?: number;
  /** MB. */
  readonly disk?: number;
}

/** A sizing as a request writes it. */
export interface SizingTexts {
  readonly profile?: string | undefined;
  readonly cpu?: string | undefined;
  readonly memory?: string | undefined;
  readonly disk?: string | undefined;
}

/** Most CPU units, and most MB of memory and disk: no device has as much, and each fits into 31 bits. */
export const MAX_SIZES = Object.freeze({ cpu: 1_000_000, memory: 4_194_304, disk: 67_108_864, vcpu: 1024 });

/**
 * Reads what a request says about the size of an application.
 *
 * @returns `undefined` if it says nothing
 * @throws PassthroughError `INVALID_REFERENCE` naming the part that is wrong
 */
export function parseSizing(texts: SizingTexts): IoxSizing | undefined {
  const { profile, cpu, memory, disk } = texts;
  const hasNumber = cpu !== undefined || memory !== undefined || disk !== undefined;
  const name = profile?.toLowerCase() ?? (hasNumber ? 'custom' : undefined);
  if (name === undefined) return undefined;
  if (name === 'custom') {
    return {
      profile: name,
      cpu: parseSize('cpu', cpu),
      memory: parseSize('memory', memory),
      disk: parseSize('disk', disk),
    };
  }
  parseProfile(name);
  if (hasNumber)
    throw refuse(`profile ${quoted(name)} has its own sizes: only custom takes cpu, memory and disk`);
  return { profile: name };
}

/**
 * Reads the name of a profile that needs no numbers.
 *
 * @throws PassthroughError `INVALID_REFERENCE` with the nearest name
 */
export function parseProfile(text: string): string {
  const name = PROFILES.find((one) => one === text.toLowerCase());
  if (name !== undefined) return name;
  const meant = nearest(text.toLowerCase(), PROFILES, () => 2);
  const hint = meant === undefined ? '' : `, did you mean ${meant}?`;
  throw refuse(`profile ${quoted(text)} is none of ${PROFILES.join(', ')}${hint}`);
}

function parseSize(name: 'cpu' | 'memory' | 'disk', text: string | undefined): number {
  const value = sizeOf(name, text ?? '');
  if (value !== undefined) return value;
  const what = text === undefined ? `${name} is missing` : `${name}=${quoted(text)} is out of range`;
  throw refuse(
    `${what}: profile custom takes cpu, memory and disk, each a whole number from 1 to ${MAX_SIZES[name]}`,
  );
}

/**
 * Reads a size in decimal digits.
 *
 * @returns `undefined` for another text, and for a number that no device has
 */
export function sizeOf(name: keyof typeof MAX_SIZES, text: string): number | undefined {
  const value = /^\d{1,9}$/.test(text) ? Number(text) : 0;
  return value >= 1 && value <= MAX_SIZES[name] ? value : undefined;
}

function refuse(why: string): PassthroughError {
  return new PassthroughError('INVALID_REFERENCE', `Cannot size the application: ${why}`);
}
