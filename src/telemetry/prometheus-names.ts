/** Names of metrics as Prometheus has them: with the unit at their end. The SDK's exporter leaves the unit out. */

/** Words for units of UCUM. A word in braces, such as `{request}`, is no unit. */
const UNITS: Readonly<Record<string, string>> = {
  s: 'seconds',
  ms: 'milliseconds',
  By: 'bytes',
  '1': 'ratio',
};

/**
 * The name and the unit of a metric.
 *
 * @param name as the instrument has it: `http.server.request.duration`
 * @param unit UCUM: `s`
 * @see https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/#metric-metadata-1
 */
export function withUnit(name: string, unit: string): { readonly name: string; readonly unit: string } {
  const word = UNITS[unit];
  if (word === undefined) return { name, unit: '' };
  return { name: name.endsWith(word) ? name : `${name}_${word}`, unit: word };
}
