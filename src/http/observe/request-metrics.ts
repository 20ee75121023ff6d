import type { Attributes } from '@opentelemetry/api';
import { instruments } from '../../telemetry/metrics.ts';
import type { RequestContext } from '../request-context.ts';
import { outcomeOf } from './outcome.ts';
import { methodAttributes } from './server-attributes.ts';

/**
 * Records a request whose answer is over: its duration, as the conventions define it, and for a pull its outcome.
 *
 * @param isPull whether the answer is an archive
 * @param seconds from the header of the request to the end of the answer
 * @see https://opentelemetry.io/docs/specs/semconv/http/http-metrics/#metric-httpserverrequestduration
 */
export function recordRequest(context: RequestContext, isPull: boolean, seconds: number): void {
  const { request, response, facts, client } = context;
  const { outcome, errorType } = outcomeOf(context);
  const { serverDuration, pulls } = instruments();
  serverDuration.record(seconds, {
    'http.request.method': methodAttributes(request.method)['http.request.method'],
    'url.scheme': client.scheme,
    'network.protocol.version': request.httpVersion,
    ...(facts.route !== undefined && { 'http.route': facts.route }),
    ...(response.headersSent && { 'http.response.status_code': response.statusCode }),
    ...(errorType !== undefined && { 'error.type': errorType }),
  });
  if (!isPull) return;
  const dimensions: Attributes = { 'passthrough.outcome': outcome };
  if (facts.error !== undefined) dimensions['error.type'] = facts.error;
  if (facts.registry !== undefined) dimensions['registry.name'] = facts.registry;
  pulls.add(1, dimensions);
}
