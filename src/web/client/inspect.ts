/** Asks what an image is: its index, its manifest, its config, and what an update of it would transfer. */

import type { Choice } from '../choice.ts';
import { comparedLayers, configDetails, type ImageDetails, layersOf, platformsOf } from '../image-details.ts';
import type { Target } from '../target.ts';
import { ask, askJson, lookUpPath, readText, ServiceError } from './service.ts';

/** Longest manifest or config that is read, in bytes: the service's own limit. */
const MAX_BYTES = 4_200_000;

/** What is known of an image, and why no more is. */
export interface Inspection {
  readonly details: ImageDetails;
  /** The service's text. */
  readonly error?: string;
}

/**
 * Inspects an image.
 *
 * @throws ServiceError if nothing can be told
 */
export async function inspect(
  origin: string,
  { lookUp, platform }: Target,
  { since, layout }: Choice,
  signal: AbortSignal,
): Promise<Inspection> {
  const question = { signal };
  const manifest = (query: Readonly<Record<string, string>>) =>
    askJson(origin, lookUpPath('manifest', lookUp, query), question);
  const named = platform.toLowerCase() === 'all' ? '' : platform;
  const known = await manifest({});
  const platforms = platformsOf(known);
  try {
    const query = { type: 'image', platform: named };
    const response = await ask(origin, lookUpPath('manifest', lookUp, query), question);
    const digest = response.headers.get('Docker-Content-Digest') ?? undefined;
    const layers = layersOf(JSON.parse(await readText(response, MAX_BYTES)));
    const config = configDetails(await manifest({ type: 'config', platform: named }));
    const base = since.trim();
    const compared =
      base === '' || layout === 'iox'
        ? { layers }
        : comparedLayers(await manifest({ since: base, layout, platform: named }));
    return { details: { platforms, digest, ...config, ...compared } };
  } catch (error) {
    if (!(error instanceof ServiceError)) throw error;
    return { details: { platforms, labels: [] }, error: error.message };
  }
}
