import type { Config } from '../../config/config.ts';
import { policyLines } from '../../config/policy/lines.ts';
import { parseNamedPlatform } from '../../image/device.ts';
import { formatPlatform, type Platform } from '../../image/platform.ts';
import type { PolicyCredentials } from '../../pull/policy/credentials.ts';
import { type ExplainedImage, explainImage, readExplained } from '../../pull/policy/explain.ts';
import { printableJson } from '../../util/printable.ts';
import type { Application } from '../application.ts';
import { refuseOutsider } from '../networks/operator-access.ts';
import { prefersJson } from '../problem.ts';
import type { RequestContext } from '../request-context.ts';
import { sendDocument, varyBy } from '../respond.ts';
import { parseImage } from '../routing/archive-request.ts';
import type { PolicyRoute } from '../routing/route.ts';

/** No cache may keep it, no other page may read it, and a browser must not take it for another type. */
const HEADERS = {
  'Cache-Control': 'no-store',
  'Cross-Origin-Resource-Policy': 'same-origin',
};

const CLIENTS: Readonly<Record<Config['registry']['clientAuth'], PolicyCredentials['client']>> = {
  optional: 'optional',
  required: 'required',
  off: 'ignored',
};

/**
 * Answers with what applies to an image: as lines of text, or as JSON to a client that asks for it. No registry is asked, and no
 * helper program is run. An image whose registry is not allowed is answered, too.
 *
 * @throws PassthroughError `CLIENT_NOT_ALLOWED`, `INVALID_REFERENCE`, `INVALID_REGISTRY`, `INVALID_PLATFORM`
 */
export async function handlePolicy(
  context: RequestContext,
  { reference, platform: text }: PolicyRoute,
  { config, images }: Application,
): Promise<void> {
  refuseOutsider(context, config.access.statusNetworks);
  varyBy(context.response, 'Accept');
  const explained = await parseImage(context, () => readExplained(reference, config.registry));
  const platform = text === undefined ? config.defaultPlatform : parseNamedPlatform(text);
  context.facts.platform = platform === 'all' ? platform : formatPlatform(platform);
  const isPlatformAsked = text !== undefined;
  const states = images.mirrors(explained);
  const facts = await explain(explained, config, { platform, isPlatformAsked, states });
  const isJson = prefersJson(context.request.headers.accept);
  const body = isJson ? printableJson(facts) : policyLines(facts, 'service').join('\n');
  const type = isJson ? 'application/json' : 'text/plain; charset=utf-8';
  sendDocument(context, Buffer.from(`${body}\n`), { ...HEADERS, 'Content-Type': type });
}

/** What only a request knows. */
interface Asked {
  readonly platform: Platform | 'all';
  readonly isPlatformAsked: boolean;
  readonly states: ReturnType<Application['images']['mirrors']>;
}

async function explain(explained: ExplainedImage, { registry, signatures }: Config, asked: Asked) {
  const { files, credentials: fixed, credentialNames: names } = registry;
  // So that a secret that was just rotated is not told as it was.
  await files?.watched.refresh();
  return await explainImage(explained, {
    policy: registry,
    credentials: {
      client: CLIENTS[registry.clientAuth],
      fixed,
      names,
      placesOf: async (host, repository) => files?.operator.places(host, repository) ?? [],
    },
    mirrors: registry,
    tls: registry.tls ?? {},
    signatures,
    ...asked,
  });
}
