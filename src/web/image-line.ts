/** Reads what a person pastes as an image: a reference, or a line that has one. */

/** An image in a pasted text. */
export interface ImageLine {
  readonly image: string;
  /** Platform that the line names. */
  readonly platform: string | undefined;
}

/** Programs whose command lines have references. */
const PROGRAMS = new Set('docker podman nerdctl ctr crictl buildah skopeo crane imgpull'.split(' '));

/** Words between a program and the reference. */
const VERBS = new Set(
  'pull run create image images inspect copy manifest save container from login'.split(' '),
);

/** Options of these programs whose value is the next word. */
const WITH_VALUE = new Set(
  [
    '-p --publish -e --env -v --volume --name --network --net -w --workdir -u --user --restart --entrypoint',
    '-h --hostname -m --memory --mount -l --label -n --namespace --platform --arch --os --env-file --cpus',
    '--add-host --creds --src-creds --dest-creds --username --password --registry-token --authfile',
    '--override-arch --override-os --variant --cert-dir --pull --gpus --device --cap-add --security-opt',
  ].flatMap((line) => line.split(' ')),
);

/** Pages of Docker Hub about an image, and what of their path is the image. */
const HUB_PAGE =
  /^https?:\/\/hub\.docker\.com\/(?:_|r|repository\/docker|layers)\/([^?#]+?)(?:\/tags)?\/?(?:[?#].*)?$/i;

/**
 * Finds the image in a text: `docker pull --platform linux/arm64 nginx:1.25`, `FROM nginx AS build`, `image: "nginx"`,
 * `docker://nginx`, the address of a page of Docker Hub. Any other text is taken for a reference as it is.
 */
export function readImageLine(text: string): ImageLine {
  // A command of several lines has backslashes at their ends, and a field of one line takes the breaks out.
  const line = text
    .trim()
    .replace(/^[$#>]\s+/, '')
    .replaceAll(/(\s)\\/g, '$1');
  const words = line.split(/\s+/).map((word) => word.replace(/^(["'])(.*)\1$/, '$2'));
  const [first = '', ...rest] = words[0] === 'sudo' ? words.slice(1) : words;
  if (PROGRAMS.has(first.toLowerCase())) return readArguments(rest) ?? plain(line);
  if (/^from$/i.test(first) && rest.length > 0) return readArguments(rest) ?? plain(line);
  if (first === 'image:' && rest.length === 1) return plain(rest[0] ?? '');
  return plain(words.length === 1 ? first : line);
}

/** Options that name a platform, or a part of one. */
const PLATFORM_OPTION = /^--(?:override-)?(platform|os|arch|variant)(?:=(.*))?$/;

/** The first word that is neither an option, nor the value of one, nor a verb. Behind it, only `pull` has options of its own. */
function readArguments(words: readonly string[]): ImageLine | undefined {
  const named: Record<string, string | undefined> = {};
  let image: string | undefined;
  for (let at = 0; at < words.length && (image === undefined || words.includes('pull')); at += 1) {
    const word = words[at] ?? '';
    const [, option, value = words[at + 1]] = PLATFORM_OPTION.exec(word) ?? [];
    if (option !== undefined) named[option] = value;
    if (WITH_VALUE.has(word)) at += 1;
    else if (!word.startsWith('-') && !VERBS.has(word)) image ??= word;
  }
  const { platform, os = 'linux', arch, variant } = named;
  const parts = arch === undefined ? undefined : [os, arch, variant].filter(Boolean).join('/');
  return image === undefined ? undefined : { ...plain(image), platform: platform ?? parts };
}

function plain(text: string): ImageLine {
  const [, page] = HUB_PAGE.exec(text) ?? [];
  const image =
    page ?? text.replace(/^(?:docker|oci):\/\//, '').replace(/^https:\/\/(?=ghcr\.io\/|quay\.io\/)/, '');
  return { image, platform: undefined };
}
