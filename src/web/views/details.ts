/** What an image is: platforms, layers with their sizes, and what its config says. */

import { printable } from '../../util/printable.ts';
import { formatBytes } from '../../util/text/format-bytes.ts';
import { type Element, el, type View } from '../element.ts';
import type { ImageDetails, LayerDetails } from '../image-details.ts';
import { TEXTS } from '../texts.ts';

const { details } = TEXTS;

/** Most labels that are shown: an image may have thousands. */
const MAX_LABELS = 30;

/** Longest value of a label that is shown, in characters. */
const MAX_LABEL_LENGTH = 500;

/** Most layers that are shown: Docker takes 127, and a manifest of 4 MB may list a million. */
const MAX_LAYERS = 200;

/** Hexadecimal digits of a digest that tell layers apart. */
const SHORT_DIGEST = 12;

/** The details of an image. All texts of the registry are escaped where they hold what cannot be seen. */
export function detailsView(image: ImageDetails): readonly View[] {
  const { platforms, layers, update } = image;
  const total = layers?.reduce((sum, { size }) => sum + size, 0) ?? 0;
  const shown = [
    platforms.length > 0 && platformsView(image),
    // Nothing else is known where the image is not offered for the platform.
    layers !== undefined && el('dl', { class: 'facts' }, facts(image, total)),
    update !== undefined &&
      el('p', { class: 'note' }, details.update(formatBytes(update.bytes), formatBytes(update.whole))),
    ...(layers === undefined ? [] : layersView(layers)),
    ...(layers === undefined ? [] : labelsView(image)),
  ];
  return shown.filter((view) => view !== false);
}

/** Buttons that choose a platform. */
function platformsView({ platforms, platform: chosen }: ImageDetails): Element {
  const button = (platform: string) =>
    el(
      'button',
      {
        ...{ type: 'button', class: 'small', 'data-platform': platform },
        'aria-label': details.choose(printable(platform)),
        'aria-pressed': String(platform === chosen),
      },
      printable(platform),
    );
  const items = platforms.map((platform) => el('li', {}, button(platform)));
  return el('div', {}, el('h3', {}, details.platforms), el('ul', { class: 'chips' }, items));
}

function labelsView({ labels }: ImageDetails): readonly View[] {
  const row = ([name, value]: readonly [string, string]) =>
    el('div', {}, el('dt', {}, printable(name)), el('dd', {}, printable(value, MAX_LABEL_LENGTH)));
  return [
    el('h3', {}, details.labels),
    labels.length === 0
      ? el('p', { class: 'note' }, details.noLabels)
      : el('dl', { class: 'labels' }, labels.slice(0, MAX_LABELS).map(row)),
    ...moreView(labels.length - MAX_LABELS),
  ];
}

function moreView(count: number): readonly View[] {
  return count > 0 ? [el('p', { class: 'note' }, details.more(count))] : [];
}

function facts(image: ImageDetails, total: number): readonly Element[] {
  const rows: readonly (readonly [string, string | undefined])[] = [
    [details.platform, image.platform],
    [details.created, image.created],
    [details.layers, image.layers && String(image.layers.length)],
    [details.compressed, image.layers && formatBytes(total)],
    [details.archive, image.archiveBytes === undefined ? details.notAsked : formatBytes(image.archiveBytes)],
    [details.command, image.command],
    [details.digest, image.digest],
  ];
  return rows.flatMap(([name, value]) =>
    value === undefined ? [] : [el('div', {}, el('dt', {}, name), el('dd', {}, printable(value)))],
  );
}

function layersView(layers: NonNullable<ImageDetails['layers']>): readonly View[] {
  const largest = layers.reduce((most, { size }) => Math.max(most, size), 1);
  const row = ({ digest, size, isShared }: LayerDetails, at: number) =>
    el(
      'tr',
      isShared ? { class: 'shared' } : {},
      el(
        'th',
        { scope: 'row', title: printable(digest) },
        `${at + 1} `,
        el('code', {}, printable(digest.replace(/^.*:/, '').slice(0, SHORT_DIGEST))),
      ),
      el('td', {}, bar(size / largest), isShared && el('span', { class: 'badge' }, details.shared)),
      el('td', { class: 'number' }, formatBytes(size)),
    );
  const heads = [details.index, details.share, details.size].map((name) => el('th', { scope: 'col' }, name));
  const table = el(
    'table',
    { class: 'layers' },
    el('caption', {}, details.layers),
    el('thead', {}, el('tr', {}, heads)),
    el('tbody', {}, layers.slice(0, MAX_LAYERS).map(row)),
  );
  return [table, ...moreView(layers.length - MAX_LAYERS)];
}

/** A bar of a share, as a picture: the policy of the page allows no style attributes. */
export function bar(share: number): Element {
  const width = Math.max(0.5, Math.min(100, share * 100));
  return el(
    'svg',
    { class: 'share', viewBox: '0 0 100 4', preserveAspectRatio: 'none', 'aria-hidden': 'true' },
    el('rect', { class: 'all', width: 100, height: 4 }),
    el('rect', { class: 'part', width: width.toFixed(1), height: 4 }),
  );
}
