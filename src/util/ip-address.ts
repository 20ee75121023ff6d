/**
 * The eight groups of an IPv6 address. The URL parser knows all the ways to write one.
 *
 * @param address with or without a zone, without brackets
 * @returns eight numbers of 16 bits; `undefined` for a text that is no IPv6 address
 * @see https://www.rfc-editor.org/rfc/rfc4291#section-2.2
 */
export function ipv6Groups(address: string): readonly number[] | undefined {
  const [plain = ''] = address.split('%', 1);
  if (!plain.includes(':')) return undefined;
  const text = URL.parse(`http://[${plain}]/`)?.hostname.slice(1, -1);
  if (text === undefined) return undefined;
  const [start = [], end = []] = text.split('::').map((half) => (half === '' ? [] : half.split(':')));
  const zeros = Array<string>(8 - start.length - end.length).fill('0');
  return [...start, ...zeros, ...end].map((group) => Number.parseInt(group, 16));
}
