import { type Span, trace } from '@opentelemetry/api';
import type { Config } from '../config.ts';
import { PassthroughError } from '../errors.ts';
import type { Admission } from '../pull/admission.ts';
import { type ResolvedImage, resolvedAttributes } from '../pull/image-attributes.ts';
import { type PulledImage, type PullRequest, pullImage } from '../pull/pull-image.ts';
import type { Credential } from '../registry/credentials.ts';
import { openRegistry, type RegistryAccess } from '../registry/open-registry.ts';
import type { RegistryTarget } from '../registry/target.ts';
import type { Workspace } from '../storage/workspace.ts';
import { instruments } from '../telemetry/metrics.ts';
import { errorType } from '../telemetry/span.ts';
import type { Exchange } from './exchange.ts';
import { extractCredential, parseImageRequest } from './image-request.ts';
import type { ArchiveRoute } from './route.ts';
import { sendArchive } from './send.ts';

/** What all archive requests of a service share. */
export interface ArchiveTools {
  readonly config: Config;
  readonly access: RegistryAccess;
  readonly workspace: Workspace;
  readonly admission: Admission;
}

/**
 * Answers one request for an archive, from top to bottom: read the request, wait for a place, pull, send. Everything that
 * can be told without the registry is told before it is asked; the 200 goes out when all bytes are here.
 *
 * @throws PassthroughError what reading the request, admission and the pull throw; once the 200 is out, whatever broke
 */
export async function handleArchive(
  exchange: Exchange,
  route: ArchiveRoute,
  tools: ArchiveTools,
): Promise<void> {
  const span = trace.getActiveSpan();
  const { target, pull } = await parseImageRequest(exchange, route, tools.config, span);
  const credential = await extractCredential(exchange, route, target, tools.config);

  const image = await prepare(exchange, { target, pull, credential, span }, tools);
  try {
    await sendArchive(exchange, image, { filename: route.filename, stallMs: tools.config.sendStallMs });
  } finally {
    await image.close();
  }
}

/** What is to be prepared. */
interface Preparation {
  readonly target: RegistryTarget;
  readonly pull: PullRequest;
  readonly credential: Credential;
  /** Span of the request. */
  readonly span: Span | undefined;
}

/** Pulls the image in a place of its own, within the time that a preparation may take. */
async function prepare(
  exchange: Exchange,
  { target, pull, credential, span }: Preparation,
  { config, access, workspace, admission }: ArchiveTools,
): Promise<PulledImage> {
  const begun = performance.now();
  const leave = await admission.enter(exchange.signal);
  const stopwatch = startPreparation();
  const limit = timeLimit(config.prepareTimeoutMs);
  try {
    const registry = openRegistry(access, { target, repository: pull.reference.repository, credential });
    const signal = AbortSignal.any([exchange.signal, limit.signal]);
    const resolved = (image: ResolvedImage) => {
      exchange.facts.digest = image.manifestDigest;
      span?.setAttributes(resolvedAttributes(image));
    };
    const limits = config.imageLimits;
    const image = await pullImage(pull, { registry, workspace, limits, signal, resolved });
    stopwatch.stop(undefined);
    return image;
  } catch (error) {
    stopwatch.stop(error);
    throw error;
  } finally {
    limit.clear();
    leave();
    exchange.facts.prepareMs = Math.round(performance.now() - begun);
  }
}

/** Counts a preparation among the active ones until it is stopped, and its time then. */
function startPreparation(): { stop(error: unknown): void } {
  const { activePreparations, preparationDuration } = instruments();
  const begun = performance.now();
  activePreparations.add(1);
  return {
    stop: (error) => {
      activePreparations.add(-1);
      const dimensions = error === undefined ? {} : { 'error.type': errorType(error) };
      preparationDuration.record((performance.now() - begun) / 1000, dimensions);
    },
  };
}

function timeLimit(ms: number): { readonly signal: AbortSignal; clear(): void } {
  const controller = new AbortController();
  const expire = () =>
    controller.abort(
      new PassthroughError('REGISTRY_TIMEOUT', `Cannot prepare the image: it took more than ${ms / 1000} s`),
    );
  const timer = setTimeout(expire, ms);
  return { signal: controller.signal, clear: () => clearTimeout(timer) };
}
