/** What one image may take. */
export interface ImageLimits {
  /** Most bytes of its layers as the registry has them, each counted once. */
  readonly compressedBytes: number;
  /** Most bytes of its layers uncompressed, each as often as it occurs. */
  readonly uncompressedBytes: number;
  /** Most layers that are fetched at once. */
  readonly concurrentLayers: number;
}
