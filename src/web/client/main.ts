/** The page in a browser: every change of the form shows its commands at once, and the service is asked when a person wants it. */

import { Rate } from '../../util/progress/rate.ts';
import { type Choice, readChoice, writeChoice } from '../choice.ts';
import type { KnownFacts } from '../commands.ts';
import { el } from '../element.ts';
import type { ImageDetails } from '../image-details.ts';
import { hasEnded, type PreparationStatus } from '../preparation.ts';
import { type Target, type TargetResult, targetOf } from '../target.ts';
import { TEXTS } from '../texts.ts';
import { detailsView } from '../views/details.ts';
import { progressView } from '../views/progress.ts';
import { downloadView, resultsView } from '../views/results.ts';
import { copyText } from './copy.ts';
import { byId, debounce, show } from './dom.ts';
import { fillForm, readForm, showFaults, showPlatforms } from './form.ts';
import { inspect } from './inspect.ts';
import { CANCELLED, prepare } from './prepare.ts';
import { ask, readText } from './service.ts';
import { TagSuggestions } from './tags.ts';

/** Milliseconds of quiet after which tags are asked for, and after which the address follows the form: browsers limit both. */
const QUIET_MS = 350;

/** Milliseconds for which a message is shown. */
const MESSAGE_MS = 4_000;

/** Longest checksum line that is read, in bytes. */
const MAX_CHECKSUM_BYTES = 2_000;

const isStandalone = document.body.hasAttribute('data-standalone');
const form = byId('form', HTMLFormElement);
const status = byId('status', HTMLElement);
const commands = byId('commands', HTMLElement);
const inside = byId('inside', HTMLElement);
const details = byId('details', HTMLElement);
const download = byId('download', HTMLElement);
const prepareHint = byId('prepare-hint', HTMLElement);
const progress = byId('progress', HTMLElement);
const prepareButton = byId('prepare', HTMLButtonElement);
const cancelButton = byId('cancel', HTMLButtonElement);
const shareButton = byId('share', HTMLButtonElement);
const submit = byId('submit', HTMLButtonElement);

let choice = readForm(form);
let result: TargetResult = { faults: [] };
let facts: KnownFacts = {};
/** What was inspected, so that the size of its archive can be added. */
let inspected: ImageDetails | undefined;
/** Image, platform, and base with layout, that the details are of. */
let inspectedKey = '';
let inspecting = new AbortController();
let preparing: AbortController | undefined;

const clearMessage = debounce(MESSAGE_MS, () => status.replaceChildren());
const announce = (text: string) => {
  status.textContent = text;
  clearMessage();
};
const suggestions = new TagSuggestions(byId('tags', HTMLDataListElement), announce);
const suggest = debounce(QUIET_MS, () => void suggestions.suggest(originOf(choice), choice.image, result));
const follow = debounce(QUIET_MS, () => history.replaceState(null, '', addressOf(choice)));

/** The page's own address with the choice in its fragment, so that a link leads to the same page. */
function addressOf(chosen: Choice): string {
  const written = writeChoice(chosen);
  return `${location.pathname}${written === '' ? '' : `#${written}`}`;
}

/** The service to ask: the one that has sent the page, or the one that is typed. */
function originOf({ service }: Choice): string | undefined {
  if (!isStandalone) return location.origin;
  const url = URL.parse(service.trim());
  const isService =
    url !== null && /^https?:$/.test(url.protocol) && url.username === '' && url.password === '';
  return isService ? url.origin : undefined;
}

/** Shows the results of what the form holds now. Details of another image are hidden. */
function update(): void {
  const before = pathOf(result.target);
  choice = readForm(form);
  result = targetOf(choice);
  const origin = originOf(choice);
  const isServiceWrong = isStandalone && origin === undefined && choice.service.trim() !== '';
  const faults = [
    ...result.faults,
    ...(isServiceWrong ? [{ field: 'service' as const, message: TEXTS.faults.service }] : []),
  ];
  if (pathOf(result.target) !== before) forget();
  inside.hidden = inspectedKey === '' || inspectedKey !== keyOf(result.target);
  showFaults(form, faults);
  show(commands, resultsView(choice, { ...result, faults }, { origin, facts, hasScript: true }));
  const isReady = result.target !== undefined && origin !== undefined;
  show(download, downloadView(result, origin));
  prepareButton.hidden = !isReady;
  prepareHint.hidden = !isReady;
  shareButton.hidden = !isReady;
  submit.disabled = !isReady;
}

function pathOf(target: Target | undefined): string {
  return target === undefined ? '' : target.path + target.query;
}

function keyOf(target: Target | undefined): string {
  if (target === undefined) return '';
  const since = choice.since.trim();
  return [target.lookUp, target.platform, ...(since === '' ? [] : [since, choice.layout])].join(' ');
}

/** Forgets what was found out about another archive. */
function forget(): void {
  facts = {};
  preparing?.abort();
  show(progress, []);
}

/** Shows what the image is. */
async function look(): Promise<void> {
  const { target } = result;
  const origin = originOf(choice);
  if (target === undefined || origin === undefined) return;
  inspecting.abort();
  inspecting = new AbortController();
  const { signal } = inspecting;
  inspectedKey = keyOf(target);
  // Details of another platform stay until the new ones are there, so that a button in them keeps the focus.
  if (inside.hidden) show(details, [el('p', { class: 'note' }, TEXTS.details.loading)]);
  inside.hidden = false;
  announce(TEXTS.details.loading);
  try {
    const { details: found, error } = await inspect(origin, target, choice, signal);
    if (signal.aborted) return;
    inspected = found;
    showPlatforms(form, choice.platform, found.platforms);
    show(details, [
      ...(error === undefined ? [] : [errorView(TEXTS.details.heading, error)]),
      ...detailsView(found),
    ]);
    announce(error === undefined ? TEXTS.details.heading : TEXTS.progress.states.failed);
  } catch (error) {
    if (signal.aborted) return;
    inspected = undefined;
    show(details, [errorView(TEXTS.details.heading, messageOf(error))]);
    announce(TEXTS.progress.states.failed);
  }
}

/** @param heading of the part of the page in which it stands: the page may have two */
function errorView(heading: string, text: string) {
  return el(
    'pre',
    {
      class: 'error',
      tabindex: 0,
      role: 'region',
      'aria-label': `${heading}: ${TEXTS.progress.states.failed}`,
    },
    text,
  );
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Shows whether a preparation can be begun or cancelled. The focus stays at one of the buttons: a disabled or hidden one has none. */
function showRunning(isRunning: boolean): void {
  prepareButton.ariaDisabled = String(isRunning);
  if (!isRunning && document.activeElement === cancelButton) prepareButton.focus();
  cancelButton.hidden = !isRunning;
}

/** Prepares the archive, and shows how far it is. */
async function begin(): Promise<void> {
  const { target } = result;
  const origin = originOf(choice);
  if (target === undefined || origin === undefined || prepareButton.ariaDisabled === 'true') return;
  preparing?.abort();
  const abort = new AbortController();
  preparing = abort;
  const rate = new Rate();
  let state = '';
  const listener = {
    announce,
    update: (now: PreparationStatus) => {
      if (abort.signal.aborted) return;
      rate.add(performance.now(), now.bytes.done);
      show(progress, progressView(now, { perSecond: rate.perSecond }));
      if (now.state !== state) announce(TEXTS.progress.states[now.state]);
      state = now.state;
      showRunning(!hasEnded(now));
    },
  };
  try {
    const ended = await prepare(origin, target, listener, abort.signal);
    // The archive is ready, also where no more can be told of it.
    if (ended.state === 'done') await complete(origin, target, abort.signal).catch(() => undefined);
  } catch (error) {
    if (!abort.signal.aborted) show(progress, [errorView(TEXTS.progress.heading, messageOf(error))]);
    if (!abort.signal.aborted) announce(TEXTS.progress.states.failed);
  } finally {
    if (preparing === abort) showRunning(false);
  }
}

/** Adds what is known of a prepared archive: its size, and the checksum that a device compares. Other origins may not ask. */
async function complete(origin: string, target: Target, signal: AbortSignal): Promise<void> {
  if (origin !== location.origin) return;
  const address = `${target.path}${target.query}`;
  const head = await ask(origin, address, { method: 'HEAD', accept: '*/*', signal });
  const size = Number(head.headers.get('Content-Length') ?? Number.NaN);
  if (inspected !== undefined && Number.isFinite(size)) {
    inspected = { ...inspected, archiveBytes: size };
    show(details, detailsView(inspected));
  }
  if (!target.hasChecksums) return;
  const line = await readText(
    await ask(origin, `${target.path}.md5${target.query}`, { accept: '*/*', signal }),
    MAX_CHECKSUM_BYTES,
  );
  const [md5] = /^[0-9a-f]{32}\b/.exec(line) ?? [];
  if (signal.aborted || md5 === undefined) return;
  facts = { md5 };
  update();
}

async function copy(button: HTMLElement): Promise<void> {
  const text = document.getElementById(button.dataset['copy'] ?? '')?.textContent ?? '';
  const { copied, copyFailed } = TEXTS.results;
  const label = button.getAttribute('aria-label') ?? '';
  announce((await copyText(text)) ? label.replace(/^[^:]*/, copied) : copyFailed);
}

/** Takes the choice of the address, if it has one. */
function readAddress(): void {
  if (location.hash.length > 1 && location.hash.includes('=')) fillForm(form, readChoice(location.hash));
  update();
}

form.addEventListener('input', () => {
  update();
  suggest();
  follow();
});
form.addEventListener('submit', (event) => {
  event.preventDefault();
  void look();
});
document.addEventListener('click', ({ target }) => {
  const button =
    target instanceof Element ? target.closest<HTMLElement>('[data-copy], [data-platform]') : null;
  if (button?.dataset['copy'] !== undefined) void copy(button);
  const platform = button?.dataset['platform'];
  if (platform === undefined) return;
  showPlatforms(form, platform, inspected?.platforms ?? []);
  choice = readForm(form);
  inspectedKey = keyOf(targetOf(choice).target);
  update();
  follow();
  void look();
});
prepareButton.addEventListener('click', () => void begin());
cancelButton.addEventListener('click', () => {
  preparing?.abort(CANCELLED);
  show(progress, [el('p', { class: 'state' }, TEXTS.progress.states.cancelled)]);
  announce(TEXTS.progress.states.cancelled);
});
shareButton.addEventListener('click', async () => {
  history.replaceState(null, '', addressOf(choice));
  const { linkCopied, copyFailed } = TEXTS.results;
  announce((await copyText(location.href)) ? linkCopied : copyFailed);
});
addEventListener('hashchange', readAddress);
submit.textContent = TEXTS.form.inspect;
byId('submit-hint', HTMLElement).hidden = false;
byId('field-image-hint', HTMLElement).append(` ${TEXTS.form.imageHintTags}`);
readAddress();
