import type { LayoutName } from '../../archive/archive.ts';
import type { SizingTexts } from '../../archive/iox/settings.ts';
import type { Compression } from '../../image/filename.ts';

/** What every route to an image has: decoded, and not yet checked. */
interface ImageRoute {
  /** Path with placeholders, for span names. */
  readonly template: string;
  /** `os/arch[/variant]`, the name of a device, or `all`; `undefined` if the request names no platform. */
  readonly platform: string | undefined;
  /** The size of the application, for layout iox. */
  readonly sizing?: SizingTexts;
}

/** An archive by filename. */
export interface ArchiveRoute extends ImageRoute {
  readonly kind: 'archive';
  readonly layout: LayoutName;
  /** The registry in the path; `undefined` for the default one. */
  readonly registry: { readonly scheme: string; readonly host: string } | undefined;
  /** Whether the route requires Basic credentials of the client. */
  readonly requiresCredentials: boolean;
  readonly filename: string;
}

/** An archive by reference, as `docker pull` takes it. */
export interface ReferenceRoute extends ImageRoute {
  readonly kind: 'reference';
  readonly layout: LayoutName;
  readonly reference: string;
  /** Another name for file and image. */
  readonly name: string | undefined;
  readonly compression: Compression;
}

/** One archive of several images. */
export interface BundleRoute extends ImageRoute {
  readonly kind: 'bundle';
  readonly layout: LayoutName;
  /** References in the query. A POST has more of them in its body. */
  readonly references: readonly string[];
  /** `bundle.tar` with one of the endings of a file name. */
  readonly filename: string;
}

/** A manifest. */
export interface ManifestRoute extends ImageRoute {
  readonly kind: 'manifest';
  readonly reference: string;
  /** `index`, `image` for that of one platform, or `undefined` for what the registry has under the reference. */
  readonly type: 'index' | 'image' | undefined;
  /** Whether the descriptor of a package is asked for, in place of the manifest. */
  readonly layout?: 'iox';
}

/** The tags of a repository. */
export interface TagsRoute {
  readonly kind: 'tags';
  readonly template: string;
  /** With its registry, as in a reference. */
  readonly repository: string;
}

/** Prepares an archive without sending it. */
export interface PrepareRoute {
  readonly kind: 'prepare';
  readonly template: string;
  readonly archive: PullRoute;
}

/** Looks a preparation up, or cancels it. */
export interface PreparationRoute {
  readonly kind: 'preparation';
  readonly template: string;
  readonly id: string;
}

/** A route without parameters, about the service itself: its row says which. */
export interface InfoRoute {
  readonly kind: 'info';
  readonly template: string;
}

/** A route that answers with an archive. */
export type PullRoute = ArchiveRoute | ReferenceRoute | BundleRoute;

/** What a request asks for. */
export type Route = PullRoute | ManifestRoute | TagsRoute | PrepareRoute | PreparationRoute | InfoRoute;
