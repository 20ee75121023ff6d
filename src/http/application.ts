import type { Config } from '../config/config.ts';
import type { ImageService } from '../pull/image-service.ts';
import type { Logger } from '../telemetry/log.ts';
import type { ClientLimit } from './client-limit.ts';
import type { Listeners } from './events/listeners.ts';
import type { PreparationFeeds } from './events/preparation-feeds.ts';
import type { StartedDownloads } from './handlers/started-downloads.ts';
import type { Activity } from './status/activity.ts';
import type { RecentFailures } from './status/recent-failures.ts';

/** What lives as long as the HTTP service. Handlers get it beside the context of their request. */
export interface Application {
  readonly images: ImageService;
  readonly config: Config;
  readonly logger: Logger;
  readonly clients: ClientLimit;
  readonly downloads: StartedDownloads;
  readonly feeds: PreparationFeeds;
  readonly listeners: Listeners;
  /** The requests that are being answered. */
  readonly activity: Activity;
  readonly failures: RecentFailures;
  /** Open connections, and the most of them. */
  readonly connections: { readonly open: number; readonly max: number };
  readonly startedAt: Date;
  /** Whether the service stops, so that no work may begin. */
  readonly isStopping: boolean;
}
