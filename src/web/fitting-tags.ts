/** Longest list of suggestions: a person reads no more, and a browser draws no more quickly. */
const MAX_SUGGESTIONS = 50;

/** Most tags that are sorted: a million would hold the page up for seconds. Registries list them by name, so the last ones are kept. */
const MAX_SORTED = 2_000;

/** A tag: https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#pulling-manifests */
const TAG = /^\w[\w.-]{0,127}$/;

/**
 * Tags that fit what is typed: those that begin with it, then those that contain it, newest names first where they are versions.
 *
 * @param tags of a registry; what is no tag by the grammar is left out
 */
export function fittingTags(tags: readonly string[], typed: string): readonly string[] {
  const begin: string[] = [];
  const contain: string[] = [];
  for (const tag of tags) {
    const at = tag.indexOf(typed);
    if (at === -1 || !TAG.test(tag)) continue;
    (at === 0 ? begin : contain).push(tag);
  }
  const order = new Intl.Collator('en', { numeric: true });
  const sorted = (list: string[]) => list.slice(-MAX_SORTED).sort((one, other) => order.compare(other, one));
  return [...sorted(begin), ...(begin.length < MAX_SUGGESTIONS ? sorted(contain) : [])].slice(
    0,
    MAX_SUGGESTIONS,
  );
}
