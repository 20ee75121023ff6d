/** The commands that get an archive, load it and install it. */

import { DEVICES } from '../image/device.ts';
import type { Choice } from './choice.ts';
import type { Target } from './target.ts';
import { TEXTS } from './texts.ts';

/** Commands for one tool. */
export interface CommandGroup {
  readonly id: keyof typeof TEXTS.results.groups;
  /** Commands to copy; empty if the tool cannot take the archive, and the notes say why. */
  readonly text: string;
  readonly notes: readonly string[];
}

/** Facts that are known when an archive is ready. */
export interface KnownFacts {
  readonly md5?: string | undefined;
}

/** Host names that only the machine itself reaches. */
const LOOPBACK = /^https?:\/\/(?:localhost|127\.\d+\.\d+\.\d+|\[::1\])(?::\d+)?$/i;

/**
 * The address of an archive.
 *
 * @param origin of the service: `http://10.20.30.40:8080`
 */
export function urlOf(origin: string, { path, query }: Target): string {
  return `${origin}${path}${query}`;
}

/**
 * Writes the commands for a target.
 *
 * @param origin of the service
 */
export function commandsFor(
  origin: string,
  choice: Choice,
  target: Target,
  facts: KnownFacts = {},
): readonly CommandGroup[] {
  const groups = [
    { id: 'url' as const, text: urlOf(origin, target), notes: [] },
    iosGroup(origin, choice, target, facts),
    curlGroup(origin, choice, target),
    ...(choice.layout === 'iox' ? [] : loaders(choice, target)),
  ];
  return wantsDeviceFirst(target)
    ? groups
    : [...groups.filter(({ id }) => id !== 'ios'), ...groups.filter(({ id }) => id === 'ios')];
}

function wantsDeviceFirst({ platform }: Target): boolean {
  return deviceOf(platform) !== undefined || platform === '';
}

function deviceOf(platform: string) {
  return DEVICES.find(({ name }) => name === platform.toLowerCase());
}

function iosGroup(origin: string, choice: Choice, target: Target, { md5 }: KnownFacts): CommandGroup {
  const { results } = TEXTS;
  const { layout, disk, credentials } = choice;
  const id = 'ios' as const;
  if (layout !== 'docker' && layout !== 'iox') return { id, text: '', notes: [results.notForDevices] };
  if (target.query !== '') return { id, text: '', notes: [results.query] };
  const device = deviceOf(target.platform);
  const url = urlOf(origin, target);
  const file = `${disk}${target.filename}`;
  const isClient = credentials === 'client';
  const login = [
    'configure terminal',
    ' ip http client username USER',
    ' ip http client password PASSWORD',
    'end',
  ];
  const logout = ['configure terminal', ' no ip http client username', ' no ip http client password', 'end'];
  const lines = [
    ...(isClient ? login : []),
    `copy ${url} ${file}`,
    ...(isClient ? logout : []),
    `verify /md5 ${file}${md5 === undefined ? ' MD5' : ` ${md5}`}`,
    `app-hosting install appid ${applicationId(target)} package ${file}`,
  ];
  return {
    id,
    text: lines.join('\n'),
    notes: [
      ...(LOOPBACK.test(origin) ? [results.loopback] : []),
      ...(device?.wantsPackage === true && layout !== 'iox' ? [results.wantsPackage(device.title)] : []),
      ...(isClient && target.reference.host === undefined ? [results.iosCredentials] : []),
      ...(md5 === undefined ? [results.md5(`curl ${url}.md5`)] : []),
    ],
  };
}

/** Letters, digits and underscores, at most 40: what IOS-XE takes as an application's ID. */
function applicationId({ reference: { repository } }: Target): string {
  const name = repository.slice(repository.lastIndexOf('/') + 1);
  return name.replaceAll(/[^a-z0-9]+/g, '_').slice(0, 40);
}

function curlGroup(origin: string, { credentials }: Choice, target: Target): CommandGroup {
  const url = quote(urlOf(origin, target));
  const name = quote(target.filename);
  const user = credentials === 'client' ? ' -u USER' : '';
  const sum = quote(`${origin}${target.path}.sha256${target.query}`);
  return {
    id: 'curl',
    text: [
      `curl --fail${user} -C - -o ${name} ${url}`,
      ...(target.hasChecksums ? [`curl --fail${user} -sS ${sum} | sha256sum -c`] : []),
    ].join('\n'),
    notes: [],
  };
}

function loaders(choice: Choice, target: Target): readonly CommandGroup[] {
  const { layout, format, since } = choice;
  const file = quote(target.filename);
  const isUpdate = since.trim() !== '';
  const old = format === 'tgz' ? [TEXTS.results.oldLoaders] : [];
  const update = isUpdate ? [TEXTS.results.update] : [];
  const docker: CommandGroup = { id: 'docker', text: `docker load -i ${file}`, notes: update };
  const podman: CommandGroup = { id: 'podman', text: `podman load -i ${file}`, notes: [...update, ...old] };
  // What takes an update is in docs/update-archives.md.
  if (isUpdate) return layout === 'oci' ? [docker, podman] : [docker];
  const source = layout === 'oci' ? 'oci-archive' : 'docker-archive';
  const copied = quote(`docker://registry.example.com/${repositoryAndTag(target)}`);
  const all = target.platform.toLowerCase() === 'all' ? ' --all' : '';
  return [
    docker,
    { id: 'containerd', text: `ctr images import ${file}`, notes: old },
    podman,
    { id: 'skopeo', text: `skopeo copy${all} ${source}:${file} ${copied}`, notes: old },
  ];
}

function repositoryAndTag({ reference: { repository, tag, digest } }: Target): string {
  return `${repository}:${tag ?? digest?.replace(/^.*:/, '').slice(0, 12) ?? 'latest'}`;
}

/** A word of a shell's command line, as POSIX shells read it. */
export function quote(word: string): string {
  return /^[\w./:=%@+,-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}
