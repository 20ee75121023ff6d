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

/** When the answer of a route to an archive begins. */
export const STARTS = ['prepared', 'early'] as const;
export type Start = (typeof STARTS)[number];

/** What every route to an archive has. */
interface AnyArchiveRoute extends ImageRoute {
  /** `early`: while the archive is fetched; `undefined` if the request does not say. */
  readonly start: Start | undefined;
}

/** An image as it is written, and the base of its update: a tag, a digest or a reference. */
export interface WrittenImage {
  readonly reference: string;
  readonly since: string | undefined;
}

/** An archive by filename. */
export interface ArchiveRoute extends AnyArchiveRoute {
  readonly kind: 'archive';
  readonly layout: LayoutName;
  /** The registry in the path; `undefined` for the default one. */
  readonly registry: { readonly scheme: string; readonly host: string } | undefined;
  /** Whether the route requires Basic credentials of the client. */
  readonly requiresCredentials: boolean;
  readonly filename: string;
  readonly since: string | undefined;
}

/** An archive by reference, as `docker pull` takes it. */
export interface ReferenceRoute extends AnyArchiveRoute {
  readonly kind: 'reference';
  readonly layout: LayoutName;
  readonly reference: string;
  /** Another name for file and image. */
  readonly name: string | undefined;
  readonly compression: Compression;
  readonly since: string | undefined;
}

/** One archive of several images. */
export interface BundleRoute extends AnyArchiveRoute {
  readonly kind: 'bundle';
  readonly layout: LayoutName;
  /** The images in the query. A POST has more of them in its body. */
  readonly images: readonly WrittenImage[];
  /** `bundle.tar` with one of the endings of a file name. */
  readonly filename: string;
}

/** A manifest. */
export interface ManifestRoute extends ImageRoute {
  readonly kind: 'manifest';
  readonly reference: string;
  /**
   * `index`, `image` for that of one platform, `config` for what that names, or `undefined` for what the registry has under the
   * reference.
   */
  readonly type: 'index' | 'image' | 'config' | undefined;
  /** The base that the image is compared with, for this layout. */
  readonly comparison: { readonly since: string; readonly layout: LayoutName } | undefined;
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

/** What the service is doing. */
export interface StatusRoute {
  readonly kind: 'status';
  readonly template: string;
  /** Whether addresses of clients are shown. */
  readonly showsClients: boolean;
  /** Whether the page asks again by itself. */
  readonly isRefreshed: boolean;
}

/** What applies to an image. */
export interface PolicyRoute extends ImageRoute {
  readonly kind: 'policy';
  readonly reference: string;
}

/** A route that answers with an archive. */
export type PullRoute = ArchiveRoute | ReferenceRoute | BundleRoute;

/** What a request asks for. */
export type Route =
  | PullRoute
  | ManifestRoute
  | TagsRoute
  | PrepareRoute
  | PreparationRoute
  | StatusRoute
  | PolicyRoute
  | InfoRoute;
