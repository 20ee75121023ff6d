import { isPassthroughError } from '../errors.ts';
import { formatPlatform } from '../image/platform.ts';
import { formatReference } from '../image/reference.ts';
import { type ImageRequest, imageRequest } from '../pull/request.ts';
import { isRequired, namesOf } from '../pull/signatures/repositories.ts';
import {
  areBound,
  type Credential,
  chooseCredential,
  type ListedCredentials,
} from '../registry/auth/credentials.ts';
import { mirrorsOf, repositoryAt } from '../registry/mirrors/mirror-rules.ts';
import { printable } from '../util/printable.ts';
import { type CommandCall, PROGRAM } from './command.ts';
import { readCredentials } from './options/credentials.ts';
import { checkRegistryOptions, readListed } from './options/images.ts';
import { readPlatform } from './options/platform.ts';
import { type CommandSettings, loadSettings } from './options/settings.ts';
import { exitCodeOf } from './output/error-lines.ts';
import { print, write } from './output/print.ts';

/** Columns of the names. */
const NAME_WIDTH = 13;

/** The `explain` command. */
export async function run(call: CommandCall): Promise<number> {
  const { options, positionals, environment, warnings } = call;
  checkRegistryOptions(options);
  const settings = loadSettings(environment);
  const [text = ''] = positionals;
  const { image, refused } = readImage(text.replace(/^docker:\/\//, ''), options.text('scheme'), settings);
  const { platform, isAsked } = readPlatform(options);
  const credentials = await readCredentials(options);
  const { signal } = new AbortController();
  const listed = await readListed([image], settings, { options, environment, signal });
  const fixed = { ...settings.registry.credentials, listed, files: undefined };
  // Those of the command line win over the environment.
  const credential = chooseCredential(
    image.host,
    credentials,
    credentials === undefined ? fixed : { ...fixed, bearerToken: undefined },
    { repository: image.reference.repository },
  );
  const facts: readonly (readonly [name: string, fact: string])[] = [
    ['reference', formatReference(image.reference)],
    ['registry', image.host.origin],
    ['allowed', refused === undefined ? 'yes' : `no: ${refused.message}`],
    [
      'platform',
      `${platform === 'all' ? platform : formatPlatform(platform)}${isAsked ? '' : ' (this machine)'}`,
    ],
    [
      'credentials',
      sourceOf(
        credential,
        listed.some(({ origin }) => origin === image.host.origin),
        settings,
      ),
    ],
    ['token', tokenOf(image)],
    ['mirrors', options.has('ns') ? 'none: --ns' : mirrorsFor(image, listed, settings)],
    ['signature', signatureOf(image, settings)],
  ];
  for (const warning of warnings) await write(process.stderr, `${PROGRAM}: ${warning}\n`);
  await print(facts.map(([name, fact]) => `${name.padEnd(NAME_WIDTH)}${printable(fact, 1000)}\n`).join(''));
  return refused === undefined ? 0 : exitCodeOf(refused);
}

/** The image, also if its registry is not allowed. */
function readImage(text: string, scheme: string | undefined, { registry }: CommandSettings) {
  try {
    return { image: imageRequest(text, registry, scheme), refused: undefined };
  } catch (error) {
    if (!isPassthroughError(error, 'REGISTRY_NOT_ALLOWED')) throw error;
    return { image: imageRequest(text, { ...registry, allowedHosts: undefined }, scheme), refused: error };
  }
}

/** @param isListed whether a file of docker login or podman login has credentials, which come before REGISTRY_USERNAME */
function sourceOf(credential: Credential, isListed: boolean, { registry }: CommandSettings): string {
  const bound = areBound(registry.credentials) ? '' : ', which go to every registry';
  if (credential.type === 'bearer') return `REGISTRY_BEARER_TOKEN or REGISTRY_TOKEN${bound}`;
  if (credential.type === 'none') return 'none: anonymous';
  if (credential.type === 'basic' && credential.source === 'client') return '--user';
  return isListed ? 'docker login or podman login' : `REGISTRY_USERNAME and REGISTRY_PASSWORD${bound}`;
}

/** The mirrors in their order, and which have credentials of their own. */
function mirrorsFor(
  { host, reference }: ImageRequest,
  listed: readonly ListedCredentials[],
  { registry }: CommandSettings,
): string {
  const all = mirrorsOf(registry.mirrors ?? [], host).map((mirror) => {
    const repository = repositoryAt(mirror, reference.repository);
    const isListed = listed.some((one) => one.origin === mirror.host.origin && one.repository === repository);
    return `${mirror.url} (${isListed ? 'docker login or podman login' : 'anonymous'})`;
  });
  return all.length === 0 ? 'none' : `${all.join(', then ')}, then the registry`;
}

/** Which signature the environment asks for. */
function signatureOf(
  { host, reference: { repository } }: ImageRequest,
  { signatures }: CommandSettings,
): string {
  const { keys, requiredFor, policy, matchRepository } = signatures;
  if (keys.length === 0) return 'none is asked for: SIGNATURE_KEYS is not set';
  if (!isRequired(requiredFor, namesOf({ host, repository })))
    return 'none is asked for: SIGNATURE_REQUIRED_FOR does not list it';
  const what = policy === 'warn' ? 'one is looked for, and its lack is only logged' : 'required';
  return `${what}: by ${keys.join(' or ')}${matchRepository ? ', for this repository' : ''}`;
}

function tokenOf({ host: { tokenEndpoint } }: ImageRequest): string {
  if (tokenEndpoint instanceof URL) return `from ${tokenEndpoint.href}`;
  return tokenEndpoint === 'none' ? 'none: Basic goes to the registry' : 'where the registry says';
}
