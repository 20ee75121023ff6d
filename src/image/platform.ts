import { PassthroughError } from '../errors.ts';

/** Operating system, architecture and variant, in the words of Go's `GOOS` and `GOARCH` that images use. */
export interface Platform {
  readonly os: string;
  readonly architecture: string;
  readonly variant?: string;
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

/** Other names of an architecture: what `uname -m` and package systems say. */
const ALIASES: Readonly<Record<string, Omit<Platform, 'os'>>> = {
  i386: { architecture: '386' },
  i686: { architecture: '386' },
  x86: { architecture: '386' },
  'x86-64': { architecture: 'amd64' },
  x86_64: { architecture: 'amd64' },
  aarch64: { architecture: 'arm64' },
  armel: { architecture: 'arm', variant: 'v6' },
  armhf: { architecture: 'arm', variant: 'v7' },
};

/** Variants, newest first: each machine also runs those that stand behind its own. */
const VARIANTS: Readonly<Record<string, readonly string[]>> = {
  amd64: ['v4', 'v3', 'v2', 'v1'],
  arm: ['v8', 'v7', 'v6', 'v5'],
  arm64: ['v9', 'v8'],
};

/** The variant that a platform means when it names none, as containerd settles it. */
const DEFAULT_VARIANT: Readonly<Record<string, string>> = { amd64: 'v1', arm: 'v7', arm64: 'v8' };

/**
 * Reads `os/arch[/variant]`, in any case, with the usual other names of architectures and with variants by number alone.
 *
 * @returns the platform in Go's words; the variant only where one was given or the name implies one
 * @throws PassthroughError `INVALID_PLATFORM` when a part is missing, extra or unknown
 */
export function parsePlatform(text: string): Platform {
  const parts = text.split('/');
  if (parts.length < 2 || parts.length > 3 || parts.includes('')) {
    throw invalid(text, 'expected os/arch or os/arch/variant, such as linux/arm64');
  }
  const [os = '', name = '', givenVariant] = parts.map((part) => part.toLowerCase());
  if (!OPERATING_SYSTEMS.has(os)) throw invalid(text, `unknown operating system ${JSON.stringify(os)}`);

  const { architecture, variant: impliedVariant } = ALIASES[name] ?? { architecture: name };
  if (!ARCHITECTURES.has(architecture)) throw invalid(text, `unknown architecture ${JSON.stringify(name)}`);

  const variant = givenVariant === undefined ? impliedVariant : spelledOut(givenVariant);
  if (variant === undefined) return { os, architecture };
  const known = VARIANTS[architecture];
  if (known === undefined ? !/^[a-z0-9.]+$/.test(variant) : !known.includes(variant)) {
    const offer = known === undefined ? '' : `, expected one of ${known.join(', ')}`;
    throw invalid(text, `unknown variant ${JSON.stringify(variant)} of ${architecture}${offer}`);
  }
  return { os, architecture, variant };
}

/** Writes `os/arch[/variant]`. */
export function formatPlatform(platform: Platform): string {
  const { os, architecture, variant } = platform;
  return variant === undefined ? `${os}/${architecture}` : `${os}/${architecture}/${variant}`;
}

/**
 * How well an image for `offered` runs on a machine of `wanted`: 0 is an exact match, larger is an older
 * variant, `undefined` does not run. A missing variant means the architecture's default one.
 */
export function platformDistance(offered: Platform, wanted: Platform): number | undefined {
  const have = normalize(offered);
  const want = normalize(wanted);
  if (have.os !== want.os || have.architecture !== want.architecture) return undefined;
  if (have.variant === want.variant) return 0;
  const order = VARIANTS[want.architecture] ?? [];
  const distance = order.indexOf(have.variant ?? '') - order.indexOf(want.variant ?? '');
  return order.includes(have.variant ?? '') && order.includes(want.variant ?? '') && distance > 0
    ? distance
    : undefined;
}

/** Whether an index entry carries no image: attestations are filed under `unknown/unknown`. */
export function isUnknownPlatform(platform: Platform): boolean {
  return platform.os === 'unknown' || platform.architecture === 'unknown';
}

function normalize(platform: Platform): Platform {
  const os = platform.os.toLowerCase();
  const name = platform.architecture.toLowerCase();
  const { architecture, variant: implied } = ALIASES[name] ?? { architecture: name };
  const given = spelledOut(platform.variant?.toLowerCase() ?? '');
  const variant = given || implied || DEFAULT_VARIANT[architecture];
  return variant === undefined ? { os, architecture } : { os, architecture, variant };
}

/** A variant that is given by its number alone, with its letter: `8` → `v8`. */
function spelledOut(variant: string): string {
  return variant.replace(/^(?=\d)/, 'v');
}

function invalid(text: string, why: string): PassthroughError {
  return new PassthroughError('INVALID_PLATFORM', `Cannot parse platform ${JSON.stringify(text)}: ${why}`);
}
