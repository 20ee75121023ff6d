import {
  accountOf,
  type CredentialOwner,
  chooseCredential,
  ownerOf,
} from '../../registry/auth/credentials.ts';
import { locationOf, openRepository, type RegistryAccess } from '../../registry/open-repository.ts';
import type { RegistryHost } from '../../registry/registry-host.ts';
import type { RegistryOptions } from '../options.ts';
import type { Call, ImageRequest, InspectCall } from '../request.ts';
import type { OpenRepository } from '../resolve-archive.ts';
import { CachingRepository, type SharedManifests } from './caching-repository.ts';

/** Opens the repositories of images with the credentials of a call. */
export class RepositoryOpener {
  readonly #registries: RegistryAccess;
  readonly #options: RegistryOptions;
  readonly #manifests: SharedManifests;

  constructor(registries: RegistryAccess, options: RegistryOptions, manifests: SharedManifests) {
    this.#registries = registries;
    this.#options = options;
    this.#manifests = manifests;
  }

  /** Whose credentials a request would use; see `ImageService.credentialOwners`. */
  owners(hosts: readonly RegistryHost[], client: Omit<Call, 'signal'>): ReadonlySet<CredentialOwner> {
    return new Set(hosts.map((host) => ownerOf(this.#credentialFor(host, hosts, client))));
  }

  /**
   * Opens repositories whose manifests are shared and kept.
   *
   * @param hosts the registries of the request
   */
  cached(hosts: readonly RegistryHost[], client: Omit<Call, 'signal'>): OpenRepository {
    return ({ host, reference: { repository: name } }) => {
      const credential = this.#credentialFor(host, hosts, client, name);
      const location = locationOf(host, name, this.#options.namespace);
      const inner = openRepository(this.#registries, { host, repository: name, credential });
      const owner = ownerOf(credential);
      const repository = new CachingRepository(inner, { location, owner }, this.#manifests);
      return { location, repository, account: accountOf(credential) };
    };
  }

  /** Opens the repository of an image that is looked at. */
  uncached({ host, reference }: ImageRequest, { signal, client, ...access }: InspectCall) {
    const { repository: name } = reference;
    const credential = this.#credentialFor(host, [host], access, name);
    const repository = openRepository(this.#registries, { host, repository: name, credential });
    return { repository, signal, client, location: locationOf(host, name, this.#options.namespace) };
  }

  #credentialFor(
    host: RegistryHost,
    hosts: readonly RegistryHost[],
    { credentials, requiresClient }: Omit<Call, 'signal'>,
    repository?: string,
  ) {
    const fixed = this.#options.credentials;
    return chooseCredential(host, credentials, fixed, { requiresClient, repository, hosts });
  }
}
