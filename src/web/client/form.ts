/** The controls of the form, and the choice that they hold. */

import { type Choice, FIELDS, readControls } from '../choice.ts';
import type { Fault } from '../target.ts';
import { described, id, isMoreChosen, platformOptions } from '../views/form.ts';
import { show } from './dom.ts';

/** Reads the choice that the controls hold. */
export function readForm(form: HTMLFormElement): Choice {
  const data = new FormData(form);
  return readControls((name) => {
    const value = data.get(name);
    return typeof value === 'string' ? value : null;
  });
}

/** Puts a choice into the controls, and shows those that are not as they were. */
export function fillForm(form: HTMLFormElement, choice: Choice): void {
  showPlatforms(form, choice.platform, []);
  if (isMoreChosen(choice)) form.querySelector('#more')?.setAttribute('open', '');
  for (const name of FIELDS) {
    const value = choice[name];
    for (const control of form.querySelectorAll<HTMLInputElement | HTMLSelectElement>(`[name="${name}"]`)) {
      if (control instanceof HTMLInputElement && (control.type === 'radio' || control.type === 'checkbox')) {
        control.checked = control.value === value;
      } else control.value = value;
    }
  }
}

/** Shows the platforms of an image before those that are always there. */
export function showPlatforms(form: HTMLFormElement, chosen: string, ofImage: readonly string[]): void {
  const control = form.querySelector('select[name="platform"]');
  if (control !== null) show(control, platformOptions(chosen, ofImage));
}

/** Shows what is wrong, next to the fields. */
export function showFaults(form: HTMLFormElement, faults: readonly Fault[]): void {
  for (const name of FIELDS) {
    const shown = document.getElementById(`${id(name)}-fault`);
    const control = document.getElementById(id(name));
    if (shown === null || control === null) continue;
    const fault = faults.find(({ field }) => field === name)?.message;
    shown.textContent = fault ?? '';
    shown.hidden = fault === undefined;
    const hint = document.getElementById(`${id(name)}-hint`) === null ? '' : 'hint';
    for (const [attribute, value] of Object.entries(described(name, hint, fault))) {
      if (value === undefined) control.removeAttribute(attribute);
      else control.setAttribute(attribute, value);
    }
    const more = form.querySelector<HTMLDetailsElement>('#more');
    if (fault !== undefined && more?.contains(control) === true) more.open = true;
  }
}
