/**
 * Versions of Windows, as `os.version` of a platform holds them: an image runs on the kernel that it was
 * built for.
 *
 *     version ::= major "." minor "." build [ "." revision ]
 *
 * @see https://github.com/opencontainers/image-spec/blob/v1.1.1/image-index.md#image-index-property-descriptions
 */
interface OsVersion {
  /** Major and minor number, which must agree. */
  readonly release: string;
  readonly build: number;
  /** Update build revision (UBR); 0 where none is named. */
  readonly revision: number;
}

/** Largest build and revision: each has 16 bits in Windows' own `VS_FIXEDFILEINFO`. */
const MAX_NUMBER = 0xffff;

/** Gap of an image that names no version at all: larger than that of any which does. */
const UNNAMED_GAP = (MAX_NUMBER + 1) ** 2;

/** Greater than every gap that {@link osVersionGap} gives. */
export const OS_VERSION_GAP_LIMIT = UNNAMED_GAP + 1;

/**
 * Windows Server 2022. From there on a host also runs the images of every build between this one and its own.
 */
const STABLE_ABI_BUILD = 20_348;

/** Whether `text` is a version of Windows: `10.0.17763`, `10.0.17763.6189`. */
export function isOsVersion(text: string): boolean {
  return parse(text) !== undefined;
}

/**
 * How far an image's version of Windows is from the wanted one, by the rules of containerd: before Windows
 * Server 2022 the builds must be equal; from there on an older build, down to that of 2022, will do. The
 * revision never decides whether an image runs. The nearest build comes first, and of one build the highest
 * revision.
 *
 * @param offered `os.version` of an image; one that names none is taken last
 * @param wanted version of the machine; without one every image will do
 * @returns 0 for the same version, larger is worse, `undefined` does not run
 * @see https://github.com/containerd/platforms/blob/main/platform_windows_compat.go
 * @see https://learn.microsoft.com/en-us/virtualization/windowscontainers/deploy-containers/version-compatibility
 */
export function osVersionGap(offered: string | undefined, wanted: string | undefined): number | undefined {
  if (wanted === undefined || offered === wanted) return 0;
  if (offered === undefined) return UNNAMED_GAP;
  const have = parse(offered);
  const want = parse(wanted);
  if (have === undefined || want === undefined || have.release !== want.release) return undefined;
  const oldest = want.build < STABLE_ABI_BUILD ? want.build : STABLE_ABI_BUILD;
  if (have.build < oldest || have.build > want.build) return undefined;
  return (want.build - have.build) * (MAX_NUMBER + 1) + (MAX_NUMBER - have.revision);
}

function parse(text: string): OsVersion | undefined {
  const { release, build, revision } =
    /^(?<release>\d{1,3}\.\d{1,3})\.(?<build>\d{1,5})(?:\.(?<revision>\d{1,5}))?$/.exec(text)?.groups ?? {};
  if (release === undefined) return undefined;
  const version = { release, build: Number(build), revision: Number(revision ?? 0) };
  return version.build > MAX_NUMBER || version.revision > MAX_NUMBER ? undefined : version;
}
