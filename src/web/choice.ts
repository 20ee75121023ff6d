/** What is chosen in the form: an image, and how it is to be had. */

import { printable } from '../util/printable.ts';
import { readImageLine } from './image-line.ts';

/** Layouts in the order of the form, the recommended one first. */
export const LAYOUT_CHOICES = ['docker', 'iox', 'docker-gzip', 'oci'] as const;
export type LayoutChoice = (typeof LAYOUT_CHOICES)[number];

/** File systems of devices, as `copy` names them. */
export const DISKS = ['flash:', 'bootflash:', 'usbflash1:', 'sdflash:'] as const;

/** Sizes of an application in a package: the service's default, Cisco's profiles, and one by numbers. */
export const PROFILES = [
  '',
  'c1.tiny',
  'c1.small',
  'c1.medium',
  'c1.large',
  'c1.xlarge',
  'default',
  'exclusive',
  'custom',
] as const;

/** The numbers of the profile `custom`, and the most that the service takes. */
export const MAX_SIZES = Object.freeze({ cpu: 1_000_000, memory: 4_194_304, space: 67_108_864 });

/** All fields. Those that are not chosen have the values of {@link NO_CHOICE}. */
export interface Choice {
  /** Address of the service, on a page that the service did not send. */
  readonly service: string;
  /** As it was typed: a reference, or a command with one. */
  readonly image: string;
  /** `os/arch[/variant]`, a device, `all`, or empty for the service's default. */
  readonly platform: string;
  readonly layout: LayoutChoice;
  /** Size of the application in a package; further layouts have none. */
  readonly profile: (typeof PROFILES)[number];
  /** CPU units, for the profile `custom`. */
  readonly cpu: string;
  /** MB of memory, for the profile `custom`. */
  readonly memory: string;
  /** MB of disk, for the profile `custom`. */
  readonly space: string;
  readonly format: 'tar' | 'tgz';
  readonly start: 'prepared' | 'early';
  /** Base of an update archive; empty for the whole image. */
  readonly since: string;
  /** How the service reaches a registry that the image names. */
  readonly scheme: 'https' | 'http';
  /** Who gives the credentials: the service, if it has some, or the client that downloads. */
  readonly credentials: 'service' | 'client';
  readonly disk: (typeof DISKS)[number];
}

/** The empty form. */
export const NO_CHOICE: Choice = Object.freeze({
  service: '',
  image: '',
  platform: '',
  layout: 'docker',
  profile: '',
  // An example, so that none of the three is a fault when `custom` is chosen.
  cpu: '400',
  memory: '256',
  space: '64',
  format: 'tar',
  start: 'prepared',
  since: '',
  scheme: 'https',
  credentials: 'service',
  disk: 'flash:',
});

/** Names of the fields: of the form's controls, of the parameters of `GET /`, and in the fragment. */
export const FIELDS = Object.freeze(Object.keys(NO_CHOICE)) as readonly (keyof Choice)[];

/** Fields with few values, and these. */
const WORDS: { readonly [Name in keyof Choice]?: readonly Choice[Name][] } = {
  layout: LAYOUT_CHOICES,
  profile: PROFILES,
  format: ['tar', 'tgz'],
  start: ['prepared', 'early'],
  scheme: ['https', 'http'],
  credentials: ['service', 'client'],
  disk: DISKS,
};

/** Longest text of a field, in characters: a reference has at most 700. */
const MAX_TEXT_LENGTH = 1000;

/** An `@` that does not begin a digest: the text before it may be a password. */
const CREDENTIALS = /@(?!sha(?:256|512)[:=])/;

/** Whether a text may hold credentials, so that it must not get into an address. */
export function mayHoldCredentials(text: string): boolean {
  return CREDENTIALS.test(text);
}

/**
 * Reads a choice from a query or a fragment, which anybody may have written. What no form could have made is left out.
 *
 * @param text `image=nginx&layout=oci`, also behind `?` or `#`
 */
export function readChoice(text: string): Choice {
  const query = new URLSearchParams(text.replace(/^[#?]/, ''));
  return choiceOf((name) => query.get(name), isAllowed);
}

/**
 * Reads a choice from the query of a form that was sent. Texts stay as they were typed, so that their faults can be told.
 *
 * @param query `image=nginx&layout=oci`
 */
export function readTyped(query: string): Choice {
  const typed = new URLSearchParams(query);
  return readControls((name) => typed.get(name));
}

/** A choice without the texts that may not be shown or written. */
export function showable(choice: Choice): Choice {
  return choiceOf((name) => choice[name as keyof Choice], isAllowed);
}

/**
 * Reads a choice from the controls of the form. Texts stay as they were typed, so that their faults can be told.
 *
 * @param get value of a control; `null` for a box that is not checked
 */
export function readControls(get: (name: string) => string | null): Choice {
  return choiceOf(get, (name, value) => WORDS[name] === undefined || isAllowed(name, value));
}

function choiceOf(
  get: (name: string) => string | null,
  isTaken: (name: keyof Choice, value: string) => boolean,
): Choice {
  const read = FIELDS.flatMap((name) => {
    const value = get(name);
    return value === null || !isTaken(name, value) ? [] : [[name, value] as const];
  });
  return { ...NO_CHOICE, ...Object.fromEntries(read) };
}

/**
 * Writes a choice as {@link readChoice} reads it, without the fields that are not chosen. Of a pasted command only the image and its
 * platform are written, since its options may have a password.
 *
 * @returns text for a query or a fragment; a field that may hold credentials is left out
 */
export function writeChoice(typed: Choice): string {
  const { image, platform = '' } = readImageLine(typed.image);
  const choice = {
    ...typed,
    // A line without an image may be any command.
    image: /\s/.test(image) ? '' : image,
    platform: typed.platform === '' ? platform : typed.platform,
  };
  const written = FIELDS.filter((name) => choice[name] !== NO_CHOICE[name] && isAllowed(name, choice[name]));
  const query = new URLSearchParams(written.map((name) => [name, choice[name]]));
  // Legible where that is safe in a fragment, also behind a link in a text.
  return query.toString().replaceAll('%2F', '/').replaceAll('%3A', ':');
}

function isAllowed(name: keyof Choice, value: string): boolean {
  const words: readonly string[] | undefined = WORDS[name];
  if (words !== undefined) return words.includes(value);
  return printable(value, MAX_TEXT_LENGTH) === value && !mayHoldCredentials(value);
}
