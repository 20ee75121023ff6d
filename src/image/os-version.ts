/**
 * A version of Windows: `os.version` of a platform. An image runs only on a compatible kernel.
 *
 *     version ::= major "." minor "." build [ "." revision ]
 *
 * @see https://github.com/opencontainers/image-spec/blob/v1.1.1/image-index.md#image-index-property-descriptions
 */
interface OsVersion {
  /** Major and minor number. Both must be equal on image and host. */
  readonly release: string;
  readonly build: number;
  /** Update build revision (UBR); 0 by default. */
  readonly revision: number;
}

/** Largest build and revision: 16 bits each in Windows' `VS_FIXEDFILEINFO`. */
const MAX_NUMBER = 0xffff;

/** Gap of an image without a version: larger than that of any image with one. */
const UNNAMED_GAP = (MAX_NUMBER + 1) ** 2;

/** Greater than every result of {@link osVersionGap}. */
export const OS_VERSION_GAP_LIMIT = UNNAMED_GAP + 1;

/** Windows Server 2022. Hosts from this build on also run images of older builds, down to this one. */
const STABLE_ABI_BUILD = 20_348;

/** Whether `text` is a version of Windows: `10.0.17763`, `10.0.17763.6189`. */
export function isOsVersion(text: string): boolean {
  return parse(text) !== undefined;
}

/**
 * Ranks an image's version of Windows by the rules of containerd. Before Windows Server 2022, the builds must be equal. From
 * then on, an older build, down to that of 2022, runs too. The revision does not decide whether an image runs. The nearest build
 * ranks first; of one build, the highest revision.
 *
 * @param offered `os.version` of an image; an image without one ranks last
 * @param wanted version of the machine; without it every image runs
 * @returns 0 for the same version, larger is worse, `undefined` if the image does not run
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
