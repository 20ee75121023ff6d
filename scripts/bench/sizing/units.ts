/** Sizes and rates with units, as the options of `npm run bench:sizing` take them and its tables show them. */

const BYTE_UNITS: Readonly<Record<string, number>> = { B: 1, kB: 1e3, MB: 1e6, GB: 1e9, TB: 1e12 };

/** Bits per second, as networks are named, in bytes per second. */
const RATE_UNITS: Readonly<Record<string, number>> = { kbit: 125, Mbit: 125e3, Gbit: 125e6 };

/**
 * Parses a size such as `300MB`.
 *
 * @returns bytes
 * @throws Error for another text
 */
export function parseBytes(text: string): number {
  return parse(text, BYTE_UNITS);
}

/**
 * Parses a rate such as `10Mbit`.
 *
 * @returns bytes per second
 * @throws Error for another text
 */
export function parseRate(text: string): number {
  return parse(text, RATE_UNITS);
}

function parse(text: string, units: Readonly<Record<string, number>>): number {
  const [, number = '', unit = ''] = /^(\d{1,12}(?:\.\d{1,6})?)([A-Za-z]{1,4})$/.exec(text) ?? [];
  const scale = Object.hasOwn(units, unit) ? units[unit] : undefined;
  if (scale === undefined || Number(number) === 0) {
    const known = Object.keys(units).join(', ');
    throw new Error(`Cannot read ${JSON.stringify(text)}: it must be a number above 0 with one of ${known}`);
  }
  return Number(number) * scale;
}

/** Formats bytes with two significant digits or more: `13.5 TB`. */
export function showBytes(bytes: number): string {
  return show(bytes, [
    [1e12, 'TB'],
    [1e9, 'GB'],
    [1e6, 'MB'],
    [1e3, 'kB'],
    [1, 'B'],
  ]);
}

/** Formats bytes per second as bits per second. */
export function showRate(bytesPerSecond: number): string {
  return show(bytesPerSecond * 8, [
    [1e9, 'Gbit/s'],
    [1e6, 'Mbit/s'],
    [1e3, 'kbit/s'],
    [1, 'bit/s'],
  ]);
}

/** Formats a time: `45 s`, `12.5 min`, `3.97 h`. */
export function showSeconds(seconds: number): string {
  return show(seconds, [
    [3600, 'h'],
    [60, 'min'],
    [1, 's'],
  ]);
}

/** Formats with three significant digits and without an exponent. */
export function showNumber(value: number): string {
  return value >= 100 ? value.toFixed(0) : Number(value.toPrecision(3)).toString();
}

function show(value: number, units: readonly (readonly [scale: number, name: string])[]): string {
  const [scale, name] = units.find(([scale]) => value >= scale) ?? units.at(-1) ?? [1, ''];
  return `${showNumber(value / scale)} ${name}`;
}
