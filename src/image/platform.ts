import { PassthroughError } from '../errors.ts';
import { quoted } from '../util/printable.ts';
import { fieldsOf, type JsonShape } from './json-shape.ts';
import { isOsVersion, OS_VERSION_GAP_LIMIT, osVersionGap } from './os-version.ts';

/** Operating system, architecture and variant, with the names of Go's `GOOS` and `GOARCH`, as in images. */
export interface Platform {
  readonly os: string;
  readonly architecture: string;
  readonly variant?: string;
  /** `os.version` of images: a version of Windows, `10.0.17763.6189`. */
  readonly osVersion?: string;
}

/** Output of `go tool dist list`, and further systems of images. */
const OPERATING_SYSTEMS = new Set(
  'aix android darwin dragonfly freebsd illumos ios js linux netbsd openbsd plan9 solaris wasip1 windows'.split(
    ' ',
  ),
);

/** Output of `go tool dist list`, and further architectures of images. */
const ARCHITECTURES = new Set(
  '386 amd64 arm arm64 loong64 mips mipsle mips64 mips64le ppc64 ppc64le riscv64 s390x sparc64 wasm'.split(
    ' ',
  ),
);

/** Other names of an architecture, from `uname -m` and package systems. Some imply a variant. */
const ALIASES: ReadonlyMap<string, Pick<Platform, 'architecture' | 'variant'>> = new Map(
  Object.entries({
    i386: { architecture: '386' },
    i686: { architecture: '386' },
    x86: { architecture: '386' },
    'x86-64': { architecture: 'amd64' },
    x86_64: { architecture: 'amd64' },
    aarch64: { architecture: 'arm64' },
    armel: { architecture: 'arm', variant: 'v6' },
    armhf: { architecture: 'arm', variant: 'v7' },
  }),
);

/** Variants that a request may name. Variants of arm64 may have a minor version: {@link ARM64_VARIANT}. */
const VARIANTS: Readonly<Record<string, readonly string[]>> = {
  amd64: ['v4', 'v3', 'v2', 'v1'],
  arm: ['v8', 'v7', 'v6', 'v5'],
  arm64: ['v9', 'v8'],
};

/** Values of Go's `GOARM64`, v8.0 to v8.9 and v9.0 to v9.5: https://go.dev/wiki/MinimumRequirements#arm64 */
const ARM64_VARIANT = /^v(?<major>8|9)(?:\.(?<minor>(?<=8\.)[0-9]|(?<=9\.)[0-5]))?$/;

/** The variant of a platform that names none, as in containerd. */
const DEFAULT_VARIANT: Readonly<Record<string, string>> = { amd64: 'v1', arm: 'v7', arm64: 'v8' };

/**
 * Reads a platform, in upper or lower case, with usual other names (`ALIASES`) and with variants by number alone. It adds
 * and removes no variant: `linux/arm64/v8` keeps it, `linux/arm64` gets none. `normalizePlatform` makes both equal.
 *
 *     platform ::= os [ "(" version ")" ] "/" architecture [ "/" variant ]
 *
 * @returns the platform with Go's names; a variant only if the text gives or implies one
 * @throws PassthroughError `INVALID_PLATFORM` when a part is missing, extra or unknown, and for a version of a system other
 *   than Windows, where it has no effect
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
  if (!OPERATING_SYSTEMS.has(os)) throw invalid(text, `unknown operating system ${quoted(name)}`);
  if (version !== undefined && os !== 'windows')
    throw invalid(text, `${os} images have no version to choose by`);
  if (version !== undefined && !isOsVersion(version)) {
    throw invalid(text, `unknown version ${quoted(version)} of Windows, expected one such as 10.0.17763`);
  }

  const { architecture, variant: impliedVariant } = ALIASES.get(machine) ?? { architecture: machine };
  if (!ARCHITECTURES.has(architecture)) throw invalid(text, `unknown architecture ${quoted(machine)}`);

  const variant = impliedVariant ?? (givenVariant === undefined ? undefined : addLetter(givenVariant));
  if (variant !== undefined && !isVariant(architecture, variant)) {
    const known = VARIANTS[architecture];
    const offer = known === undefined ? '' : `, expected one of ${known.join(', ')}`;
    throw invalid(text, `unknown variant ${quoted(variant)} of ${architecture}${offer}`);
  }
  return {
    os,
    architecture,
    ...(variant !== undefined && { variant }),
    ...(version !== undefined && { osVersion: version }),
  };
}

/**
 * Reads the platform of a request: one platform, or `all`.
 *
 * @throws PassthroughError as {@link parsePlatform}
 */
export function parsePlatformChoice(text: string): Platform | 'all' {
  return text.toLowerCase() === 'all' ? 'all' : parsePlatform(text);
}

/** Writes `os/arch[/variant]`, with the version in parentheses: `windows(10.0.17763.6189)/amd64`. */
export function formatPlatform(platform: Platform): string {
  const { os, architecture, variant, osVersion } = platform;
  const system = osVersion === undefined ? os : `${os}(${osVersion})`;
  return [system, architecture, ...(variant === undefined ? [] : [variant])].join('/');
}

/** What is read of a platform. */
export const PLATFORM_SHAPE = {
  os: 'scalar',
  architecture: 'scalar',
  variant: 'scalar',
  'os.version': 'scalar',
} as const satisfies Readonly<Record<string, JsonShape>>;

/**
 * The platform in the fields of an index entry's `platform` or of an image config.
 *
 * @param value JSON from a registry; names and versions are not checked
 * @returns `undefined` unless both `os` and `architecture` are there
 * @see https://github.com/opencontainers/image-spec/blob/v1.1.1/image-index.md#image-index-property-descriptions
 * @see https://github.com/opencontainers/image-spec/blob/v1.1.1/config.md#properties
 */
export function platformOfFields(value: unknown): Platform | undefined {
  const { os, architecture, variant, 'os.version': osVersion } = fieldsOf(value);
  if (!isText(os) || !isText(architecture)) return undefined;
  return { os, architecture, ...(isText(variant) && { variant }), ...(isText(osVersion) && { osVersion }) };
}

/**
 * The canonical form of a platform, as containerd's `Normalize` makes it: `linux/AArch64/8` →
 * `linux/arm64`, `linux/arm` → `linux/arm/v7`, `linux/amd64/v1` → `linux/amd64`, `macos/arm64` →
 * `darwin/arm64`.
 *
 * @see https://github.com/containerd/platforms/blob/main/database.go
 */
export function normalizePlatform(platform: Platform): Platform {
  const { variant, ...rest } = withVariant(platform);
  const isImplied = rest.architecture !== 'arm' && variant === DEFAULT_VARIANT[rest.architecture];
  return variant === undefined || isImplied ? rest : { ...rest, variant };
}

/**
 * Ranks an image for `offered` on a machine of `wanted`. A missing variant means the architecture's default. The order is that
 * of containerd's `Only`, which Docker uses for pulls: newer variants before older ones, then the other architecture that the
 * machine runs (arm on arm64, 386 on amd64). Equal ones rank by the version of Windows, if the machine has one.
 *
 * @returns 0 for an exact match, larger is worse, `undefined` if the image does not run
 * @see https://github.com/containerd/platforms/blob/main/compare.go
 */
export function platformDistance(offered: Platform, wanted: Platform): number | undefined {
  return platformRanking(wanted)(offered);
}

/**
 * {@link platformDistance} for one machine and many images: an index may have 25,000 entries.
 *
 * @param wanted platform of the machine
 */
export function platformRanking(wanted: Platform): (offered: Platform) => number | undefined {
  const want = withVariant(wanted);
  const machines = runnable(want);
  const architectures = new Set(machines.map((machine) => machine.slice(0, machine.indexOf('/'))));
  return (offered) => {
    if (osName(offered.os) !== want.os || !architectures.has(architectureName(offered))) return undefined;
    const have = withVariant(offered);
    const step = machines.indexOf(machineName(have));
    const gap = want.os === 'windows' ? osVersionGap(have.osVersion, want.osVersion) : 0;
    return step === -1 || gap === undefined ? undefined : step * OS_VERSION_GAP_LIMIT + gap;
  };
}

/** Whether a platform is that of attestations in an index, `unknown/unknown`. */
export function isUnknownPlatform(platform: Platform): boolean {
  return platform.os === 'unknown' || platform.architecture === 'unknown';
}

/** What a machine runs, as {@link machineName}s, best first. */
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
  // v9.0 is based on v8.5, so v9.x runs what v8.(x+5) runs.
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

/** The platform in Go's names, with the default variant if it has none. */
function withVariant(platform: Platform): Platform {
  const { osVersion } = platform;
  const name = platform.architecture.toLowerCase();
  const { architecture, variant: implied } = ALIASES.get(name) ?? { architecture: name };
  // v8.0 means v8, v9.0 means v9.
  const given = addLetter(platform.variant?.toLowerCase() ?? '').replace(/^(v[89])\.0$/, '$1');
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

/** The architecture in Go's names. */
function architectureName({ architecture }: Platform): string {
  const name = architecture.toLowerCase();
  return ALIASES.get(name)?.architecture ?? name;
}

function osName(name: string): string {
  const os = name.toLowerCase();
  return os === 'macos' ? 'darwin' : os;
}

/** Completes a variant that is a number alone: `8` → `v8`. */
function addLetter(variant: string): string {
  return variant.replace(/^(?=\d)/, 'v');
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value !== '';
}

function invalid(text: string, why: string): PassthroughError {
  return new PassthroughError('INVALID_PLATFORM', `Cannot parse platform ${quoted(text)}: ${why}`);
}
