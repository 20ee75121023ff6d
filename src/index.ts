/**
 * The package export ".": pulls images from registries. `Puller` pulls one image. `ImageService` is the application behind the
 * service, the command line and `Puller`: made once, with a store, for any number of images.
 */

export { LAYOUTS, type LayoutName } from './archive/archive.ts';
export type { IoxDescriptor } from './archive/iox/descriptor.ts';
export type { IoxSettings, IoxSizing, PackageDigest, SchemaVersion } from './archive/iox/settings.ts';
export type { LayerForm } from './archive/layouts.ts';
export {
  type CredentialOrigin,
  type DiskSpace,
  type ErrorCode,
  type ErrorDetails,
  isPassthroughError,
  PassthroughError,
  type Setting,
} from './errors.ts';
export type { Descriptor } from './image/descriptor.ts';
export type { Digest, DigestAlgorithm } from './image/digest.ts';
export type { Checksum, Compression } from './image/filename.ts';
export type { JsonFields } from './image/json.ts';
export { formatPlatform, type Platform, parsePlatform } from './image/platform.ts';
export type { Reference } from './image/reference.ts';
export { machinePlatform } from './library/machine-platform.ts';
export type { PulledBlob } from './library/pull-blobs.ts';
export {
  type PulledManifest,
  type PulledTar,
  Puller,
  type PullerCall,
  type PullerProgressCall,
  type PullTarCall,
} from './library/puller.ts';
export type { PullerOptions } from './library/puller-options.ts';
export type { ArchiveFile } from './pull/archive-file.ts';
export type { EarlyFile } from './pull/direct/early-archives.ts';
export type { ManifestFacts } from './pull/direct/manifest-facts.ts';
export type { WrittenArchive } from './pull/direct/pull-to.ts';
export type { ServedDescriptor } from './pull/documents/look-ups.ts';
export { ImageService } from './pull/image-service.ts';
export type { LayerTotals } from './pull/layers/layer-totals.ts';
export type { ImageLimits } from './pull/limits.ts';
export type { CacheOptions, ImageServiceOptions, RegistryOptions, ResolvedOptions } from './pull/options.ts';
export type {
  Preparation,
  PreparationListener,
  PreparationLookUp,
  PreparationState,
  PreparationSubject,
  StartedPreparation,
} from './pull/preparations.ts';
export type { Count, LayerProgress, LayerStatus, Progress } from './pull/progress.ts';
export {
  type ArchiveRequest,
  archiveRequest,
  type Call,
  type ImageRequest,
  type InspectCall,
  imageRequest,
  type PrepareOptions,
  type PullOptions,
  type PullToOptions,
  updateOf,
} from './pull/request.ts';
export type { ResolvedArchive } from './pull/resolve-archive.ts';
export type { ManifestChoice, PlatformChoice, ServedManifest } from './pull/resolve-manifest.ts';
export type { VerificationKey } from './pull/signatures/keys.ts';
export type { SignatureOptions, SignatureReport } from './pull/signatures/verifier.ts';
export type { ServiceStatus } from './pull/status/service-status.ts';
export type { ComparedLayer, Comparison } from './pull/update/compare.ts';
export {
  type AuthFilePath,
  type AuthFilePlaces,
  authFilePaths,
  credentialsFor,
  type Environment,
  type LookupOptions,
} from './registry/auth/auth-file.ts';
export type {
  BasicCredentials,
  CredentialFiles,
  CredentialOwner,
  FileCredentials,
  FoundCredentials,
  IdentityToken,
  ListedCredentials,
  RegistryToken,
  StaticCredentials,
} from './registry/auth/credentials.ts';
export type { HostPattern } from './registry/host-pattern.ts';
export type { CircuitState } from './registry/mirrors/circuit.ts';
export type {
  MirrorOperation,
  MirrorReport,
  MirrorSnapshot,
  MirrorWatch,
} from './registry/mirrors/mirror-health.ts';
export { type Mirror, type MirrorRule, parseMirrorRules } from './registry/mirrors/mirror-rules.ts';
export type { MirrorOptions } from './registry/mirrors/mirrors.ts';
export type { MirrorResult } from './registry/mirrors/outcome.ts';
export { DOCKER_HUB, type RegistryHost, registryHost } from './registry/registry-host.ts';
export type { BodyLimits } from './registry/repository-client.ts';
export type { HostPolicy } from './registry/select-host.ts';
export type { CertificateFile, CertificateFolder } from './registry/transport/certificate-files.ts';
export {
  CertificateFolders,
  type CertificateFoldersOptions,
  type CertificateReport,
} from './registry/transport/certificate-folders.ts';
export type { ServerFailure, ServerHealth } from './registry/transport/health.ts';
export type { RetryPolicy } from './registry/transport/retry.ts';
export type { HostCertificateSource, HostCertificates, RegistryTls } from './registry/transport/tls.ts';
export type { PropagationPolicy } from './registry/transport/traced.ts';
export type { Timeouts } from './registry/transport/transport.ts';
export type { IndexStatistics } from './storage/index/file-index.ts';
export type { StoredSource, StoreStatistics } from './storage/store.ts';
export type { ByteRange } from './tar/encoder.ts';
export type { Content } from './util/content.ts';
export type { SemaphoreOptions } from './util/semaphore.ts';
