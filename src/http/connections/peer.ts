/** The way by which a connection has come. */
export type Entrance = 'http' | 'https' | 'unix';

/** The other end of a connection. */
export interface Peer {
  readonly entrance: Entrance;
  /** Its IP address; {@link UNIX_ADDRESS} behind a Unix socket; empty if the connection has broken before that was known. */
  readonly address: string;
  /** `undefined` behind a Unix socket. */
  readonly port: number | undefined;
  /** Whom its certificate names: printable, and short. */
  readonly certificate: string | undefined;
}

/** Stands for the address of a peer that has none. No header field can claim it: it is no address and no obfuscated name. */
export const UNIX_ADDRESS = 'unix';
