/**
 * How much a client wants one of some media types, by its own words. Wildcards do not count unless they are asked for: curl and
 * switches send a bare one, and get what the route answers by default.
 *
 * @param accept the request's `Accept`
 * @param types in lower case
 * @returns the highest quality of those that are named; 0 if none is, or all are refused
 * @see https://www.rfc-editor.org/rfc/rfc9110#field.accept
 */
export function qualityOf(accept: string | undefined, ...types: readonly string[]): number {
  const qualities = new Map(
    (accept ?? '').split(',').map((range) => {
      const [type = '', ...params] = range.split(';').map((part) => part.trim().toLowerCase());
      const quality = Number(params.find((param) => param.startsWith('q='))?.slice(2) ?? 1);
      return [type, Number.isNaN(quality) ? 1 : quality];
    }),
  );
  return Math.max(...types.map((type) => qualities.get(type) ?? 0));
}

/** Whether a client wants a media type rather than JSON. It must name the type. */
export function isPreferred(accept: string | undefined, type: string): boolean {
  const quality = qualityOf(accept, type);
  return quality > 0 && quality >= qualityOf(accept, 'application/json');
}
