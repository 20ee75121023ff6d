import type { Config } from '../config/config.ts';
import type { ImageService } from '../pull/image-service.ts';
import type { Logger } from '../telemetry/log.ts';
import type { ClientLimit } from './client-limit.ts';
import type { Listeners } from './events/listeners.ts';
import type { PreparationFeeds } from './events/preparation-feeds.ts';
import type { StartedDownloads } from './handlers/started-downloads.ts';

/** What lives as long as the HTTP service. Handlers get it beside the context of their request. */
export interface Application {
  readonly images: ImageService;
  readonly config: Config;
  readonly logger: Logger;
  readonly clients: ClientLimit;
  readonly downloads: StartedDownloads;
  readonly feeds: PreparationFeeds;
  readonly listeners: Listeners;
  /** Whether the service stops, so that no work may begin. */
  readonly isStopping: boolean;
}
