/** The form: what is typed and chosen. */

import { DEVICES } from '../../image/device.ts';
import { formatPlatform } from '../../image/platform.ts';
import { type Choice, DISKS, LAYOUT_CHOICES, PROFILES } from '../choice.ts';
import { type Element, el, type View } from '../element.ts';
import type { Fault } from '../target.ts';
import { SERVER_TEXTS as form, TEXTS } from '../texts.ts';

/** Platforms in the order of the form. Others can be named in a pasted line, and come with an image. */
const PLATFORMS = [
  'linux/amd64',
  'linux/arm64',
  'linux/arm/v7',
  'linux/arm/v6',
  'linux/386',
  'linux/ppc64le',
  'linux/s390x',
  'linux/riscv64',
  'windows/amd64',
];

/** Which page the form is on. */
export interface FormOptions {
  /** Whether the address of the service is asked for. */
  readonly isStandalone: boolean;
}

/** The form with the values of a choice. */
export function formView(choice: Choice, faults: readonly Fault[], { isStandalone }: FormOptions): Element {
  const profiles: Readonly<Record<string, string>> = form.profiles;
  const fault = (name: keyof Choice) => faults.find(({ field }) => field === name)?.message;
  const text = (
    name: 'service' | 'image' | 'since' | 'cpu' | 'memory' | 'space',
    label: string,
    hint: string,
    attributes = {},
  ) =>
    field(
      { name, label, hint, fault: fault(name) },
      el('input', {
        ...{
          id: id(name),
          name,
          value: choice[name],
          type: 'text',
          spellcheck: 'false',
          autocapitalize: 'none',
        },
        ...{ autocomplete: 'off', maxlength: 1000 },
        ...described(name, hint, fault(name)),
        ...attributes,
      }),
    );
  return el(
    'form',
    {
      id: 'form',
      method: 'get',
      action: isStandalone ? undefined : '/',
      novalidate: true,
      autocomplete: 'off',
    },
    isStandalone &&
      text('service', form.service, form.serviceHint, { inputmode: 'url', placeholder: 'http://' }),
    text('image', form.image, form.imageHint, { autofocus: true, list: 'tags', placeholder: 'nginx:1.25' }),
    el('datalist', { id: 'tags' }),
    field(
      { name: 'platform', label: form.platform, fault: fault('platform') },
      el(
        'select',
        { id: id('platform'), name: 'platform', ...described('platform', '', fault('platform')) },
        platformOptions(choice.platform),
      ),
    ),
    el(
      'fieldset',
      { class: 'layouts' },
      el('legend', {}, form.layout),
      LAYOUT_CHOICES.map((layout) => layoutOption(layout, choice)),
    ),
    // Styles show what belongs to the chosen layout, so that no script is needed for it.
    el(
      'div',
      { class: 'sizing' },
      select(
        'profile',
        form.profile,
        '',
        PROFILES.map((profile) => [profile, profiles[profile] ?? profile] as const),
        choice.profile,
        fault('profile'),
      ),
      el(
        'div',
        { class: 'sizes' },
        (['cpu', 'memory', 'space'] as const).map((name) =>
          text(name, form[name], '', { inputmode: 'numeric', maxlength: 9 }),
        ),
      ),
    ),
    el(
      'details',
      {
        class: 'more',
        id: 'more',
        open: isMoreChosen(choice) || faults.some(({ field: name }) => ['since', 'scheme'].includes(name)),
      },
      el('summary', {}, form.more),
      el(
        'div',
        { class: 'fields' },
        el(
          'div',
          { class: 'unpackaged' },
          checkbox('format', 'tgz', form.gzip, form.gzipHint, choice.format === 'tgz'),
          checkbox('start', 'early', form.early, form.earlyHint, choice.start === 'early'),
          text('since', form.since, form.sinceHint),
        ),
        select(
          'scheme',
          form.scheme,
          form.schemeHint,
          [
            ['https', form.https],
            ['http', form.http],
          ],
          choice.scheme,
          fault('scheme'),
        ),
        select(
          'credentials',
          form.credentials,
          '',
          [
            ['service', form.credentialsService],
            ['client', form.credentialsClient],
          ],
          choice.credentials,
          fault('credentials'),
        ),
        select(
          'disk',
          form.disk,
          '',
          DISKS.map((disk) => [disk, disk] as const),
          choice.disk,
          fault('disk'),
        ),
      ),
    ),
    el(
      'div',
      { class: 'actions' },
      el('button', { type: 'submit', class: 'primary', id: 'submit' }, form.submit),
      el('p', { class: 'hint', id: 'submit-hint', hidden: true }, form.inspectHint),
    ),
  );
}

/** Options of the platform field. */
export function platformOptions(chosen: string, ofImage: readonly string[] = []): readonly Element[] {
  const known = new Set(['', 'all', ...PLATFORMS, ...ofImage, ...DEVICES.map(({ name }) => name)]);
  const option = (value: string, label = value) => el('option', { value, selected: value === chosen }, label);
  const group = (label: string, values: readonly string[]) =>
    el(
      'optgroup',
      { label },
      values.map((value) => option(value)),
    );
  return [
    option('', TEXTS.form.platformDefault),
    ...(known.has(chosen) ? [] : [option(chosen)]),
    ...(ofImage.length === 0 ? [] : [group(TEXTS.form.platformsOfImage, ofImage)]),
    el(
      'optgroup',
      { label: TEXTS.form.devices },
      DEVICES.map(({ name, title, platform }) => option(name, `${title} (${formatPlatform(platform)})`)),
    ),
    group(
      TEXTS.form.platforms,
      PLATFORMS.filter((platform) => !ofImage.includes(platform)),
    ),
    option('all', TEXTS.form.allPlatforms),
  ];
}

/** ID of the control of a field. */
export function id(name: keyof Choice): string {
  return `field-${name}`;
}

interface FieldTexts {
  readonly name: keyof Choice;
  readonly label: string;
  readonly hint?: string;
  readonly fault: string | undefined;
}

function field({ name, label, hint = '', fault }: FieldTexts, control: Element): Element {
  return el(
    'div',
    { class: 'field' },
    el('label', { for: id(name) }, label),
    control,
    hint !== '' && el('p', { class: 'hint', id: `${id(name)}-hint` }, hint),
    el('p', { class: 'fault', id: `${id(name)}-fault`, hidden: fault === undefined }, fault ?? ''),
  );
}

/** Ties hint and fault to a control, for screen readers. */
export function described(name: keyof Choice, hint: string, fault: string | undefined) {
  const ids = [
    ...(hint === '' ? [] : [`${id(name)}-hint`]),
    ...(fault === undefined ? [] : [`${id(name)}-fault`]),
  ];
  return {
    'aria-describedby': ids.length === 0 ? undefined : ids.join(' '),
    'aria-invalid': fault === undefined ? undefined : 'true',
  };
}

function layoutOption(layout: (typeof LAYOUT_CHOICES)[number], choice: Choice): View {
  const [title, hint] = form.layouts[layout];
  const name = `layout-${layout}`;
  return el(
    'div',
    { class: 'option' },
    el('input', {
      type: 'radio',
      name: 'layout',
      id: name,
      value: layout,
      checked: choice.layout === layout,
      'aria-describedby': `${name}-hint`,
    }),
    el(
      'label',
      { for: name },
      title,
      // A space is not shown where the badge begins a line.
      ' ',
      layout === 'docker' && el('span', { class: 'badge' }, form.recommended),
    ),
    el('p', { class: 'hint', id: `${name}-hint` }, hint),
  );
}

function checkbox(name: keyof Choice, value: string, label: string, hint: string, checked: boolean): Element {
  return el(
    'div',
    { class: 'option' },
    el('input', {
      type: 'checkbox',
      name,
      value,
      id: id(name),
      checked,
      'aria-describedby': `${id(name)}-hint`,
    }),
    el('label', { for: id(name) }, label),
    el('p', { class: 'hint', id: `${id(name)}-hint` }, hint),
  );
}

function select(
  name: keyof Choice,
  label: string,
  hint: string,
  options: readonly (readonly [value: string, text: string])[],
  chosen: string,
  fault: string | undefined,
): Element {
  return field(
    { name, label, hint, fault },
    el(
      'select',
      { id: id(name), name, ...described(name, hint, fault) },
      options.map(([value, text]) => el('option', { value, selected: value === chosen }, text)),
    ),
  );
}

/** Whether a choice is made that is out of sight at first. */
export function isMoreChosen({ format, start, since, scheme, credentials, disk }: Choice): boolean {
  return (
    format !== 'tar' ||
    start !== 'prepared' ||
    since !== '' ||
    scheme !== 'https' ||
    credentials !== 'service' ||
    disk !== 'flash:'
  );
}
