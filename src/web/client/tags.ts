/** Tags of a repository, as suggestions while the tag is typed. */

import { fieldsOf } from '../../image/json-shape.ts';
import { el } from '../element.ts';
import { fittingTags } from '../fitting-tags.ts';
import { readImageLine } from '../image-line.ts';
import type { TargetResult } from '../target.ts';
import { TEXTS } from '../texts.ts';
import { show } from './dom.ts';
import { askJson, lookUpPath } from './service.ts';

/** Suggests tags into a list of options. */
export class TagSuggestions {
  readonly #list: Element;
  readonly #announce: (text: string) => void;
  #repository = '';
  /** `undefined` while they are asked for, and where they cannot be listed. */
  #tags: readonly string[] | undefined;
  /** What is typed: the repository, and the begin of a tag. */
  #typed: readonly [name: string, tag: string] = ['', ''];
  #abort = new AbortController();

  /** @param announce says how many tags there are */
  constructor(list: Element, announce: (text: string) => void) {
    this.#list = list;
    this.#announce = announce;
  }

  /**
   * Suggests tags for a text that ends in a repository and a colon. Without a colon nothing is asked: each piece of a name would be a
   * question to the registry.
   */
  async suggest(origin: string | undefined, text: string, { target }: TargetResult): Promise<void> {
    const { image } = readImageLine(text);
    const [, name, typed] = /^(.*[^/:]):([\w.-]*)$/.exec(image) ?? [];
    if (name === undefined || typed === undefined || origin === undefined) return;
    this.#typed = [name, typed];
    const repository = target?.repository ?? name;
    if (`${origin} ${repository}` !== this.#repository) await this.#load(origin, repository);
    else this.#show();
  }

  #show(): void {
    if (this.#tags === undefined) return;
    const [name, typed] = this.#typed;
    const found = fittingTags(this.#tags, typed);
    show(
      this.#list,
      found.map((tag) => el('option', { value: `${name}:${tag}` })),
    );
    if (found.length === 0) this.#announce(TEXTS.tags.none);
  }

  async #load(origin: string, repository: string): Promise<void> {
    this.#abort.abort();
    this.#abort = new AbortController();
    const { signal } = this.#abort;
    this.#repository = `${origin} ${repository}`;
    this.#tags = undefined;
    show(this.#list, []);
    try {
      const { tags } = fieldsOf(await askJson(origin, lookUpPath('tags', repository), { signal }));
      if (signal.aborted) return;
      this.#tags = (Array.isArray(tags) ? tags : []).filter((tag) => typeof tag === 'string');
      this.#announce(TEXTS.tags.found(this.#tags.length));
      this.#show();
    } catch {
      if (!signal.aborted) this.#announce(TEXTS.tags.failed);
    }
  }
}
