import { PassthroughError } from '../../errors.ts';
import { accountOf } from '../../registry/auth/account.ts';
import { type CredentialOwner, chooseCredential, ownerOf } from '../../registry/auth/credentials.ts';
import { locationOf } from '../../registry/mirrors/namespace.ts';
import { openRepository, openWithoutMirrors, type RegistryAccess } from '../../registry/open-repository.ts';
import type { RegistryHost } from '../../registry/registry-host.ts';
import type { ResolvedOptions } from '../options.ts';
import type { ArchiveRequest, Call, ImageRequest, InspectCall } from '../request.ts';
import type { OpenRepository } from '../resolve-archive.ts';
import { CachingRepository, type SharedManifests } from './caching-repository.ts';

/** Opens repositories with the credentials that a call may use. */
export class Repositories {
  readonly #registry: ResolvedOptions['registry'];
  readonly #access: RegistryAccess;
  readonly #manifests: SharedManifests;

  constructor(registry: ResolvedOptions['registry'], access: RegistryAccess, manifests: SharedManifests) {
    this.#registry = registry;
    this.#access = access;
    this.#manifests = manifests;
  }

  /** Whose credentials a request would use; see `ImageService.credentialOwners`. */
  owners(hosts: readonly RegistryHost[], client: Omit<Call, 'signal'>): ReadonlySet<CredentialOwner> {
    return new Set(hosts.map((host) => ownerOf(this.#credentialFor(host, hosts, client))));
  }

  /**
   * The way to open repositories for a request, with the cache of manifests around them.
   *
   * @param hosts the registries of the request
   */
  async opener(hosts: readonly RegistryHost[], client: Omit<Call, 'signal'>): Promise<OpenRepository> {
    await this.#refreshFiles();
    return ({ host, reference: { repository: name } }) => {
      const credential = this.#credentialFor(host, hosts, client, name);
      const location = locationOf(host, name, this.#registry.namespace);
      const place = {
        ...{ host, repository: name, credential, requiresClient: client.requiresClient },
        fixed: this.#registry.credentials,
      };
      const repository = openRepository(this.#access, {
        ...place,
        around: (inner, source) => new CachingRepository(inner, source, this.#manifests),
      });
      const account = accountOf(credential);
      const access = this.#access;
      const signatures = {
        // Without the cache, since what is known of signatures is kept beside the manifest. Few requests look for one.
        get repository() {
          return openRepository(access, place);
        },
        get registry() {
          return openWithoutMirrors(access, place);
        },
        ...{ owner: ownerOf(credential), account },
      };
      return { location, repository, account, signatures };
    };
  }

  /** Opens the repository of an image without a cache, for a look-up. */
  async openUncached({ host, reference }: ImageRequest, { signal, client, ...access }: InspectCall) {
    await this.#refreshFiles();
    const { repository: name } = reference;
    const credential = this.#credentialFor(host, [host], access, name);
    const place = {
      ...{ host, repository: name, credential, requiresClient: access.requiresClient },
      fixed: this.#registry.credentials,
    };
    const repository = openRepository(this.#access, place);
    const location = locationOf(host, name, this.#registry.namespace);
    const registry = openWithoutMirrors(this.#access, place);
    const source = { repository, registry, owner: ownerOf(credential), account: accountOf(credential) };
    return { repository, signal, client, location, checked: { host, reference, location, source } };
  }

  /** Where a look-up of an archive takes place: in the repository of its first image. */
  placeOf({ images: [image] }: ArchiveRequest, { signal, client }: InspectCall) {
    if (image === undefined)
      throw new PassthroughError('INTERNAL', 'Cannot look up an archive without images');
    const { host, reference } = image;
    return { signal, client, location: locationOf(host, reference.repository, this.#registry.namespace) };
  }

  /** Looks at files of credentials, since the request chooses among what they have now. */
  async #refreshFiles(): Promise<void> {
    await this.#registry.credentials.files?.refresh(false);
  }

  #credentialFor(
    host: RegistryHost,
    hosts: readonly RegistryHost[],
    { credentials, requiresClient }: Omit<Call, 'signal'>,
    repository?: string,
  ) {
    const fixed = this.#registry.credentials;
    return chooseCredential(host, credentials, fixed, { requiresClient, repository, hosts });
  }
}
