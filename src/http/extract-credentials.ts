import type { Config } from '../config/config.ts';
import { PassthroughError } from '../errors.ts';
import { type BasicCredentials, type Credential, chooseCredential } from '../registry/auth/credentials.ts';
import type { RegistryHost } from '../registry/registry-host.ts';
import { withSpan } from '../telemetry/span.ts';
import { parseBasicCredentials } from './client-credentials.ts';
import { isFailure } from './problem.ts';
import type { RequestContext } from './request-context.ts';

/** Chooses what a pull from a registry is authorized with. */
export type CredentialChoice = (target: RegistryHost) => Credential;

/**
 * What pulls are authorized with: the client's registry credentials, where it sent any and they may be used, else the
 * operator's. The client's go to one registry only: a request that names several does not say whose they are.
 *
 * @param isRequired whether the route itself demands that the client sends some
 * @param targets every registry that the request names
 * @throws PassthroughError `CREDENTIALS_REQUIRED` where the client must send some, or sent what cannot be read
 */
export function extractCredentials(
  { request }: RequestContext,
  isRequired: boolean,
  targets: readonly RegistryHost[],
  { registry: { clientAuth, credentials } }: Config,
): Promise<CredentialChoice> {
  const mode = isRequired ? 'required' : clientAuth;
  const { authorization } = request.headers;
  const attributes = {
    'registry.client_auth.mode': mode,
    'registry.client_auth.credentials_present': authorization !== undefined,
    'registry.client_auth.credentials_used': false,
    'registry.client_auth.challenge_sent': false,
  };
  return withSpan('extract_registry_client_credentials', { attributes, isFailure }, (span) => {
    try {
      const client = mode === 'off' ? undefined : parseBasicCredentials(authorization);
      if (client === undefined && mode === 'required') {
        throw new PassthroughError(
          'CREDENTIALS_REQUIRED',
          'Send them as HTTP Basic: user name and password of the registry',
        );
      }
      const usable = isOne(targets) ? client : undefined;
      const choose = (target: RegistryHost) => chooseCredential(target, usable, credentials);
      span.setAttribute('registry.client_auth.credentials_used', targets.map(choose).some(isOfClient));
      return choose;
    } catch (error) {
      span.setAttribute('registry.client_auth.challenge_sent', true);
      throw error;
    }
  });
}

/**
 * Asks for credentials where a registry refused a pull without any, so that a browser opens its dialogue. Other errors pass,
 * and so does this one where the client's would not be used: a browser would ask for them again and again.
 *
 * @param choose what the pull was authorized with
 * @param targets every registry that the request names
 */
export function challengeWhenDenied(
  error: unknown,
  choose: CredentialChoice,
  targets: readonly RegistryHost[],
  { registry: { clientAuth } }: Config,
): unknown {
  const isAnonymous = targets.every((target) => choose(target).type === 'none');
  const mayHelp = clientAuth !== 'off' && isOne(targets) && isAnonymous;
  if (!(error instanceof PassthroughError) || error.code !== 'REGISTRY_DENIED' || !mayHelp) return error;
  return new PassthroughError('CREDENTIALS_REQUIRED', error.message, { ...error.details, cause: error });
}

function isOne(targets: readonly RegistryHost[]): boolean {
  return new Set(targets.map(({ origin }) => origin)).size === 1;
}

function isOfClient(credential: Credential): credential is Credential & { basic: BasicCredentials } {
  return credential.type === 'basic' && credential.source === 'client';
}
