import { type IoxSizing, parseSizing } from '../../archive/iox/settings.ts';
import type { ParsedOptions } from './parse.ts';

/**
 * Reads the options of `SIZING_OPTIONS`.
 *
 * @returns `undefined` if none is given
 * @throws PassthroughError as `parseSizing`
 */
export function readSizing(options: ParsedOptions): IoxSizing | undefined {
  const [profile, cpu, memory, disk] = ['profile', 'cpu', 'memory', 'disk'].map((one) => options.text(one));
  return parseSizing({ profile, cpu, memory, disk });
}
