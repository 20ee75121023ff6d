/**
 * What a fleet needs, by arithmetic from a few measured figures: no load is generated. {@link file://./simulate.ts} checks it.
 */

/** What one replica costs, as {@link file://./figures.ts} measures it. */
export interface Figures {
  /** Cached archive, to several clients at once, in bytes per second. */
  readonly sendBytesPerSecond: number;
  /** Processor time to send a byte of it then. */
  readonly sendCpuSecondsPerByte: number;
  /** Processor time to send a byte to clients that read slowly: it goes out in smaller parts. */
  readonly slowCpuSecondsPerByte: number;
  /** Processor time of a request beside its bytes. */
  readonly requestCpuSeconds: number;
  /** Of a first pull for each uncompressed byte, with a registry that is not the limit. */
  readonly pullSecondsPerByte: number;
  readonly pullCpuSecondsPerByte: number;
  /** Bytes on the disk for each uncompressed byte. */
  readonly diskBytesPerByte: number;
  /** Peak resident memory of one first pull. */
  readonly peakBytes: number;
  /** Resident memory of each client that does not read. */
  readonly clientBytes: number;
  /** Bytes that the system holds for each client that does not read. */
  readonly bufferedBytes: number;
}

/** A fleet and its window. */
export interface Plan {
  readonly devices: number;
  readonly compressedBytes: number;
  readonly uncompressedBytes: number;
  readonly windowSeconds: number;
  readonly clientBytesPerSecond: number;
  /** Network of each replica. */
  readonly replicaBytesPerSecond: number;
  /** `MAX_CONNECTIONS` */
  readonly maxConnections: number;
}

/** What the fleet needs. */
export interface Estimate {
  readonly devices: number;
  /** To all devices. */
  readonly sentBytes: number;
  /** From the registry, by all replicas. */
  readonly pulledBytes: number;
  /** Devices start within this time, so that the last one is done in time. */
  readonly startSeconds: number;
  /** Of all replicas to all devices. */
  readonly bytesPerSecond: number;
  /** To all replicas. */
  readonly connections: number;
  readonly replicas: number;
  /** Of each replica. */
  readonly diskBytes: number;
  /** Of each replica: resident memory of the process. */
  readonly memoryBytes: number;
  /** Of each replica: buffers of connections, if every client is slower than the service. */
  readonly bufferedBytes: number;
  /** Busy cores of all replicas while they send. */
  readonly cores: number;
  /** Processor time of all first pulls. */
  readonly pullCpuSeconds: number;
}

/**
 * Estimates what one image for all devices needs. Devices start evenly, and each replica pulls the image once.
 *
 * @throws Error when one download takes longer than the window
 */
export function estimate(plan: Plan, figures: Figures): Estimate {
  const { devices, compressedBytes, uncompressedBytes, clientBytesPerSecond } = plan;
  const downloadSeconds = uncompressedBytes / clientBytesPerSecond;
  const pullSeconds = uncompressedBytes * figures.pullSecondsPerByte;
  const startSeconds = plan.windowSeconds - downloadSeconds - pullSeconds;
  if (startSeconds <= 0) {
    const needed = Math.ceil((downloadSeconds + pullSeconds) / 60);
    throw new Error(
      `One download and its first pull take ${needed} minutes, which is longer than the window`,
    );
  }
  // Little's law; there are no more downloads than devices.
  const downloads = Math.min(devices, (devices * downloadSeconds) / startSeconds);
  const bytesPerSecond = downloads * clientBytesPerSecond;
  const connections = Math.ceil(downloads);
  const eachSends = Math.min(plan.replicaBytesPerSecond, figures.sendBytesPerSecond);
  const replicas = Math.max(
    1,
    Math.ceil(connections / plan.maxConnections),
    Math.ceil(bytesPerSecond / eachSends),
  );
  const clients = Math.ceil(connections / replicas);
  return {
    devices,
    sentBytes: devices * uncompressedBytes,
    pulledBytes: replicas * compressedBytes,
    startSeconds,
    bytesPerSecond,
    connections,
    replicas,
    diskBytes: uncompressedBytes * figures.diskBytesPerByte,
    memoryBytes: figures.peakBytes + clients * figures.clientBytes,
    bufferedBytes: clients * figures.bufferedBytes,
    cores:
      bytesPerSecond * figures.slowCpuSecondsPerByte + (devices / startSeconds) * figures.requestCpuSeconds,
    pullCpuSeconds: replicas * uncompressedBytes * figures.pullCpuSecondsPerByte,
  };
}
