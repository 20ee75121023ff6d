/**
 * The tags of an image that is published from a git ref: `GITHUB_REF=refs/tags/v0.1.0 GITHUB_SHA=… node scripts/image-tags.ts` prints
 * them with commas between them, as docker-bake.hcl takes them.
 *
 * | ref | tags |
 * |---|---|
 * | branch main | `main`, `sha-<commit>`, `latest` |
 * | tag `v0.1.0` | `0.1.0`, `0.1`, `sha-<commit>` |
 * | another branch | its name, `sha-<commit>` |
 */

/** https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pulling-manifests */
const TAG = /^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$/;

/** A version, and one that is not final: 1.2.3-rc.1. https://semver.org */
const VERSION = /^refs\/tags\/v((\d+\.\d+)\.\d+)(-[0-9A-Za-z.-]+)?$/;

/** Hexadecimal digits of a commit in a tag. */
const COMMIT_LENGTH = 12;

/**
 * @param ref as GitHub has it in GITHUB_REF
 * @param commit in full
 * @returns at least two tags
 * @throws Error when the ref is none that images are published from
 */
export function imageTags(ref: string, commit: string): readonly string[] {
  if (!/^[0-9a-f]{40}$/.test(commit)) throw new Error(`Cannot use "${commit}" as a commit`);
  const sha = `sha-${commit.slice(0, COMMIT_LENGTH)}`;
  if (ref === 'refs/heads/main') return ['main', sha, 'latest'];
  const [, version = '', minor = '', candidate = ''] = VERSION.exec(ref) ?? [];
  if (candidate !== '') return [`${version}${candidate}`, sha];
  if (version !== '') return [version, minor, sha];
  const [, branch] = /^refs\/heads\/(.+)$/.exec(ref) ?? [];
  const name = branch?.replaceAll('/', '-') ?? '';
  // A branch named like a version must not take its tag.
  if (!TAG.test(name) || /^(?:latest|v?\d[\d.]*|sha-.*)$/.test(name)) {
    throw new Error(`Cannot publish an image from "${ref}"`);
  }
  return [name, sha];
}

if (import.meta.main) {
  console.log(imageTags(process.env['GITHUB_REF'] ?? '', process.env['GITHUB_SHA'] ?? '').join(','));
}
