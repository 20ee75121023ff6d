import type { LayoutName } from '../../archive/archive.ts';
import type { Compression } from '../../image/filename.ts';

/** What every route to an image has, decoded and not yet judged. */
interface ImageRoute {
  /** Path with placeholders, as telemetry names the route. */
  readonly template: string;
  /** `os/arch[/variant]`, the name of a device, or `all`, where the request asks for one. */
  readonly platform: string | undefined;
}

/** A request for an archive by the name of a file. */
export interface ArchiveRoute extends ImageRoute {
  readonly kind: 'archive';
  readonly layout: LayoutName;
  /** Registry that the path names; `undefined` for the configured one. */
  readonly registry: { readonly scheme: string; readonly host: string } | undefined;
  /** Whether the route itself requires Basic credentials. */
  readonly requiresCredentials: boolean;
  readonly filename: string;
}

/** A request for an archive by reference, as `docker pull` takes it. */
export interface ReferenceRoute extends ImageRoute {
  readonly kind: 'reference';
  readonly layout: LayoutName;
  readonly reference: string;
  /** What to call file and image instead. */
  readonly name: string | undefined;
  readonly compression: Compression;
}

/** A request for one archive of several images. */
export interface BundleRoute extends ImageRoute {
  readonly kind: 'bundle';
  readonly layout: LayoutName;
  /** References in the query; those of a POST are in its body. */
  readonly references: readonly string[];
  /** `bundle.tar` with one of the endings of a file name. */
  readonly filename: string;
}

/** A request for a manifest. */
export interface ManifestRoute extends ImageRoute {
  readonly kind: 'manifest';
  readonly reference: string;
  /** Which one: the index, the image's, or whatever the registry has under the reference. */
  readonly type: 'index' | 'image' | undefined;
}

/** A request for the tags of a repository. */
export interface TagsRoute {
  readonly kind: 'tags';
  readonly template: string;
  /** With its registry, as in a reference. */
  readonly repository: string;
}

/** A request for an archive to be prepared, and not to be sent yet. */
export interface PrepareRoute {
  readonly kind: 'prepare';
  readonly template: string;
  /** What is to be prepared. */
  readonly archive: ArchiveRoute | ReferenceRoute | BundleRoute;
}

/** A request that looks after a preparation, or ends it. */
export interface PreparationRoute {
  readonly kind: 'preparation';
  readonly template: string;
  readonly id: string;
}

/** What a request asks for. */
export type Route =
  | ArchiveRoute
  | ReferenceRoute
  | BundleRoute
  | ManifestRoute
  | TagsRoute
  | PrepareRoute
  | PreparationRoute
  | { readonly kind: 'usage' | 'health' | 'ready'; readonly template: string };
