/** Longest word that is compared, in characters. No name of ours is as long, and the time grows with the square. */
const MAX_LENGTH = 64;

/**
 * The word of a list that a mistyped word most likely means: the first one with the least distance.
 *
 * @param maxDistance most edits for a candidate
 * @returns `undefined` if no candidate is as near
 */
export function nearest(
  word: string,
  candidates: Iterable<string>,
  maxDistance: (candidate: string) => number,
): string | undefined {
  let found: { readonly candidate: string; readonly distance: number } | undefined;
  for (const candidate of candidates) {
    const most = Math.min(maxDistance(candidate), (found?.distance ?? Number.POSITIVE_INFINITY) - 1);
    // An edit changes the length by one at most. Most candidates end here, each variable of a large environment with all of ours.
    if (Math.abs(word.length - candidate.length) > most) continue;
    const distance = editDistance(word, candidate, most);
    if (distance <= most) found = { candidate, distance };
  }
  return found?.candidate;
}

/**
 * Number of characters to insert, remove, replace or swap with their neighbour to get from one word to the other (optimal string
 * alignment).
 *
 * @param most a longer distance need not be told
 * @returns `Infinity` for a word of more than 64 characters, and where it is clear that the distance is more than `most`
 */
export function editDistance(one: string, other: string, most = Number.POSITIVE_INFINITY): number {
  if (Math.max(one.length, other.length) > MAX_LENGTH) return Number.POSITIVE_INFINITY;
  // Distances between the starts of the words: of the row of one start, and of the two before it.
  let [above, current]: [number[], number[]] = [[], Array.from({ length: other.length + 1 }, (_, at) => at)];
  let leastBefore = 0;
  for (let i = 1; i <= one.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= other.length; j += 1) {
      const isSame = one[i - 1] === other[j - 1];
      const isSwapped = i > 1 && j > 1 && one[i - 1] === other[j - 2] && one[i - 2] === other[j - 1];
      next[j] = Math.min(
        (current[j] ?? 0) + 1,
        (next[j - 1] ?? 0) + 1,
        (current[j - 1] ?? 0) + (isSame ? 0 : 1),
        isSwapped ? (above[j - 2] ?? 0) + 1 : Number.POSITIVE_INFINITY,
      );
    }
    // Each later number comes from one of this row, or by a swap from one of the row before and 1.
    const least = Math.min(...next);
    if (least > most && leastBefore + 1 > most) return Number.POSITIVE_INFINITY;
    leastBefore = least;
    [above, current] = [current, next];
  }
  return current[other.length] ?? 0;
}
