import { PassthroughError } from '../errors.ts';
import { fieldsOf } from './json.ts';
import { isOsVersion, OS_VERSION_GAP_LIMIT, osVersionGap } from './os-version.ts';

/** Operating system, architecture and variant, in the words of Go's `GOOS` and `GOARCH` that images use. */
export interface Platform {
  readonly os: string;
  readonly architecture: string;
  readonly variant?: string;
  /** Version of Windows, `10.0.17763.6189`: `os.version` in images. */
  readonly osVersion?: string;
}

/** `go tool dist list`, and the systems that images name besides. */
const OPERATING_SYSTEMS = new Set(
  'aix android darwin dragonfly freebsd illumos ios js linux netbsd openbsd plan9 solaris wasip1 windows'.split(
    ' ',
  ),
);

/** `go tool dist list`, and the architectures that images name besides. */
const ARCHITECTURES = new Set(
  '386 amd64 arm arm64 loong64 mips mipsle mips64 mips64le ppc64 ppc64le riscv64 s390x sparc64 wasm'.split(
    ' ',
  ),
);

/**
 * Other names of an architecture: what `uname -m` and package systems say. Those of a variant leave no choice
 * of one.
 */
const ALIASES: Readonly<Record<string, Pick<Platform, 'architecture' | 'variant'>>> = {
  i386: { architecture: '386' },
  i686: { architecture: '386' },
  x86: { architecture: '386' },
  'x86-64': { architecture: 'amd64' },
  x86_64: { architecture: 'amd64' },
  aarch64: { architecture: 'arm64' },
  armel: { architecture: 'arm', variant: 'v6' },
  armhf: { architecture: 'arm', variant: 'v7' },
};

/**
 * Variants that a request may name. Those of arm64 may have a minor version besides: {@link ARM64_VARIANT}.
 */
const VARIANTS: Readonly<Record<string, readonly string[]>> = {
  amd64: ['v4', 'v3', 'v2', 'v1'],
  arm: ['v8', 'v7', 'v6', 'v5'],
  arm64: ['v9', 'v8'],
};

/**
 * As Go's `GOARM64` has them, v8.0 to v8.9 and v9.0 to v9.5: https://go.dev/wiki/MinimumRequirements#arm64
 */
const ARM64_VARIANT = /^v(?<major>8|9)(?:\.(?<minor>(?<=8\.)[0-9]|(?<=9\.)[0-5]))?$/;

/** The variant that a platform means when it names none, as containerd settles it. */
const DEFAULT_VARIANT: Readonly<Record<string, string>> = { amd64: 'v1', arm: 'v7', arm64: 'v8' };

/**
 * Reads a platform, in any case, with the usual other names and with variants by number alone. What was
 * written stays: `linux/arm64/v8` keeps its variant, `linux/arm64` gets none; {@link normalizePlatform} makes
 * them one.
 *
 *     platform ::= os [ "(" version ")" ] "/" architecture [ "/" variant ]
 *
 * @returns the platform in Go's words; the variant only where one was given or the name implies one
 * @throws PassthroughError `INVALID_PLATFORM` when a part is missing, extra or unknown, and for a version of
 *   anything but Windows: it would decide nothing
 * @see https://github.com/containerd/platforms/blob/main/platforms.go
 */
export function parsePlatform(text: string): Platform {
  const parts = text.split('/');
  if (parts.length < 2 || parts.length > 3 || parts.includes('')) {
    throw invalid(text, 'expected os/arch or os/arch/variant, such as linux/arm64');
  }
  const [system = '', machine = '', givenVariant] = parts.map((part) => part.toLowerCase());
  const { name = system, version } = /^(?<name>[^()]+)\((?<version>[^()]*)\)$/.exec(system)?.groups ?? {};
  const os = osName(name);
  if (!OPERATING_SYSTEMS.has(os)) throw invalid(text, `unknown operating system ${JSON.stringify(name)}`);
  if (version !== undefined && os !== 'windows')
    throw invalid(text, `${os} images have no version to choose by`);
  if (version !== undefined && !isOsVersion(version)) {
    throw invalid(
      text,
      `unknown version ${JSON.stringify(version)} of Windows, expected one such as 10.0.17763`,
    );
  }

  const { architecture, variant: impliedVariant } = ALIASES[machine] ?? { architecture: machine };
  if (!ARCHITECTURES.has(architecture))
    throw invalid(text, `unknown architecture ${JSON.stringify(machine)}`);

  const variant = impliedVariant ?? (givenVariant === undefined ? undefined : spelledOut(givenVariant));
  if (variant !== undefined && !isVariant(architecture, variant)) {
    const known = VARIANTS[architecture];
    const offer = known === undefined ? '' : `, expected one of ${known.join(', ')}`;
    throw invalid(text, `unknown variant ${JSON.stringify(variant)} of ${architecture}${offer}`);
  }
  return {
    os,
    architecture,
    ...(variant !== undefined && { variant }),
    ...(version !== undefined && { osVersion: version }),
  };
}

/**
 * Reads what a request may ask for: one platform, or `all` of an image.
 *
 * @throws PassthroughError `INVALID_PLATFORM` as {@link parsePlatform}
 */
export function parsePlatformChoice(text: string): Platform | 'all' {
  return text.toLowerCase() === 'all' ? 'all' : parsePlatform(text);
}

/**
 * Writes `os/arch[/variant]`, the version of the system behind its name: `windows(10.0.17763.6189)/amd64`.
 */
export function formatPlatform(platform: Platform): string {
  const { os, architecture, variant, osVersion } = platform;
  const system = osVersion === undefined ? os : `${os}(${osVersion})`;
  return [system, architecture, ...(variant === undefined ? [] : [variant])].join('/');
}

/**
 * The platform as the fields of an index entry's `platform` or of an image config name it.
 *
 * @param value JSON from a registry; neither names nor versions are checked
 * @returns `undefined` where it names none, or half of one
 * @see https://github.com/opencontainers/image-spec/blob/v1.1.1/image-index.md#image-index-property-descriptions
 * @see https://github.com/opencontainers/image-spec/blob/v1.1.1/config.md#properties
 */
export function platformOfFields(value: unknown): Platform | undefined {
  const { os, architecture, variant, 'os.version': osVersion } = fieldsOf(value);
  if (!isText(os) || !isText(architecture)) return undefined;
  return { os, architecture, ...(isText(variant) && { variant }), ...(isText(osVersion) && { osVersion }) };
}

/**
 * The one spelling of a platform that has several, as containerd's `Normalize` has it: `linux/AArch64/8` →
 * `linux/arm64`, `linux/arm` → `linux/arm/v7`, `linux/amd64/v1` → `linux/amd64`, `macos/arm64` →
 * `darwin/arm64`.
 *
 * @see https://github.com/containerd/platforms/blob/main/database.go
 */
export function normalizePlatform(platform: Platform): Platform {
  const { variant, ...settled } = settle(platform);
  const isSilent = settled.architecture !== 'arm' && variant === DEFAULT_VARIANT[settled.architecture];
  return variant === undefined || isSilent ? settled : { ...settled, variant };
}

/**
 * How well an image for `offered` runs on a machine of `wanted`: 0 is an exact match, larger is worse,
 * `undefined` does not run. A missing variant means the architecture's default one. In the order of
 * containerd's `Only`, which is what Docker pulls by: newer variants before older ones, then the architecture
 * that the machine runs besides its own, arm on arm64 and 386 on amd64; under each, the version of Windows
 * where the machine names one.
 *
 * @see https://github.com/containerd/platforms/blob/main/compare.go
 */
export function platformDistance(offered: Platform, wanted: Platform): number | undefined {
  const have = settle(offered);
  const want = settle(wanted);
  if (have.os !== want.os) return undefined;
  const step = runnable(want).indexOf(machineName(have));
  const gap = want.os === 'windows' ? osVersionGap(have.osVersion, want.osVersion) : 0;
  return step === -1 || gap === undefined ? undefined : step * OS_VERSION_GAP_LIMIT + gap;
}

/** Whether an index entry carries no image: attestations are filed under `unknown/unknown`. */
export function isUnknownPlatform(platform: Platform): boolean {
  return platform.os === 'unknown' || platform.architecture === 'unknown';
}

/** What a machine runs, as {@link machineName} names it, best first. */
function runnable(machine: Platform): readonly string[] {
  const { architecture, variant = '' } = machine;
  if (!isVariant(architecture, variant)) return [machineName(machine)];
  if (architecture === 'amd64') {
    return [...countDown(Number(variant.slice(1)), 1).map((version) => `amd64/v${version}`), '386/'];
  }
  if (architecture === 'arm') return armDownFrom(Number(variant.slice(1)));
  if (architecture !== 'arm64') return [machineName(machine)];

  const { major, minor: minorText = '0' } = ARM64_VARIANT.exec(variant)?.groups ?? {};
  const minor = Number(minorText);
  const minors = (of: number, from: number) =>
    countDown(from, 0).map((version) => `arm64/v${of}${version === 0 ? '' : `.${version}`}`);
  // v9.0 branched off from v8.5, so that v9.x runs what v8.(x+5) does.
  const own = major === '9' ? [...minors(9, minor), ...minors(8, minor + 5)] : minors(8, minor);
  return [...own, ...armDownFrom(8)];
}

function armDownFrom(version: number): string[] {
  return countDown(version, 5).map((older) => `arm/v${older}`);
}

function countDown(from: number, to: number): number[] {
  return Array.from({ length: from - to + 1 }, (_, index) => from - index);
}

function machineName({ architecture, variant = '' }: Platform): string {
  return `${architecture}/${variant}`;
}

/** One spelling for each platform, with the variant that is meant where none is named. */
function settle(platform: Platform): Platform {
  const { osVersion } = platform;
  const name = platform.architecture.toLowerCase();
  const { architecture, variant: implied } = ALIASES[name] ?? { architecture: name };
  // v8.0 and v9.0 are v8 and v9.
  const given = spelledOut(platform.variant?.toLowerCase() ?? '').replace(/^(v[89])\.0$/, '$1');
  const variant = implied ?? (given || DEFAULT_VARIANT[architecture]);
  return {
    os: osName(platform.os),
    architecture,
    ...(variant !== undefined && { variant }),
    ...(osVersion !== undefined && { osVersion }),
  };
}

function isVariant(architecture: string, variant: string): boolean {
  const known = VARIANTS[architecture];
  if (architecture === 'arm64') return ARM64_VARIANT.test(variant);
  return known === undefined ? /^[a-z0-9.]+$/.test(variant) : known.includes(variant);
}

function osName(name: string): string {
  const os = name.toLowerCase();
  return os === 'macos' ? 'darwin' : os;
}

/** A variant that is given by its number alone, with its letter: `8` → `v8`. */
function spelledOut(variant: string): string {
  return variant.replace(/^(?=\d)/, 'v');
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value !== '';
}

function invalid(text: string, why: string): PassthroughError {
  return new PassthroughError('INVALID_PLATFORM', `Cannot parse platform ${JSON.stringify(text)}: ${why}`);
}
