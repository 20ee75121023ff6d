/** The connections over TLS, by whose certificates they use. */

import type { Agent, AgentOptions } from 'node:http';
import https from 'node:https';
import type { Duplex } from 'node:stream';
import { matchesHost } from '../host-pattern.ts';
import { type HostCertificates, type RegistryTls, type TlsAgentSettings, tlsAgentSettings } from './tls.ts';

/** Agents for one set of certificates. */
interface Pair {
  readonly registry: https.Agent;
  /** For servers that do not get the client certificate; the same agent as `registry` if there is none. */
  readonly foreign: https.Agent;
}

/** The agents of hosts with certificates of their own. */
interface HostPair extends Pair {
  readonly certificates: HostCertificates;
}

/**
 * Chooses the agent of a request. A host with certificates of its own has an agent of its own. When its files change, new requests
 * use a new agent: those under way keep their connections.
 */
export class HttpsAgents {
  readonly #options: AgentOptions;
  readonly #tls: RegistryTls;
  readonly #usual: Pair;
  readonly #insecure: Pair;
  readonly #hosts = new Map<string, HostPair>();
  /** Agents whose certificates were replaced. */
  readonly #retired = new Set<https.Agent>();

  /** @throws PassthroughError `INVALID_CONFIGURATION`, see {@link tlsAgentSettings} */
  constructor(options: AgentOptions, tls: RegistryTls = {}) {
    this.#options = options;
    this.#tls = tls;
    this.#usual = this.#pair(tls);
    this.#insecure = this.#pair({ ...tls, insecure: true });
  }

  /**
   * The agent for a URL.
   *
   * @param isForeign whether the server does not get a client certificate
   * @throws PassthroughError `INVALID_CONFIGURATION` for certificates of the host that cannot be used
   */
  async agentFor(url: URL, isForeign: boolean): Promise<https.Agent> {
    const { folders, insecureHosts = [], insecure = false } = this.#tls;
    const certificates = await folders?.forHost(url);
    const isInsecure = insecure || insecureHosts.some((pattern) => matchesHost(pattern, url));
    const pair = this.#pairOf(url.host, certificates, isInsecure);
    return isForeign ? pair.foreign : pair.registry;
  }

  /** Closes all connections. */
  close(): void {
    for (const agent of this.#all()) agent.destroy();
  }

  #all(): readonly https.Agent[] {
    const pairs = [this.#usual, this.#insecure, ...this.#hosts.values()];
    return [...pairs.flatMap(({ registry, foreign }) => [registry, foreign]), ...this.#retired];
  }

  #pairOf(host: string, certificates: HostCertificates | undefined, insecure: boolean): Pair {
    const before = this.#hosts.get(host);
    if (before !== undefined && before.certificates === certificates) return before;
    if (before !== undefined) this.#retire(before);
    this.#hosts.delete(host);
    if (certificates === undefined) return insecure ? this.#insecure : this.#usual;
    const pair = { ...this.#pair({ ...this.#tls, insecure }, certificates), certificates };
    this.#hosts.set(host, pair);
    return pair;
  }

  #pair(tls: RegistryTls, certificates?: HostCertificates): Pair {
    const { registry, foreign } = tlsAgentSettings(tls, certificates);
    const own = new DiallingAgent(this.#options, registry);
    return { registry: own, foreign: foreign === registry ? own : new DiallingAgent(this.#options, foreign) };
  }

  /** Closes the idle connections of agents. Busy ones end with their requests. */
  #retire({ registry, foreign }: Pair): void {
    for (const agent of this.#retired) if (isIdle(agent)) this.#retired.delete(agent);
    for (const agent of [registry, foreign]) {
      for (const sockets of Object.values(agent.freeSockets))
        for (const socket of sockets ?? []) socket.destroy();
      this.#retired.add(agent);
    }
  }
}

function isIdle({ sockets, requests, freeSockets }: Agent): boolean {
  return [sockets, requests, freeSockets].every((table) => Object.keys(table).length === 0);
}

/** Sets up TLS, and passes each dialled socket to its request, also the socket of a proxy's tunnel before the tunnel is open. */
class DiallingAgent extends https.Agent {
  readonly #tls: TlsAgentSettings;

  constructor(options: AgentOptions, tls: TlsAgentSettings) {
    super(options);
    this.#tls = tls;
  }

  /** Whether servers that ask for a certificate get one. */
  get hasIdentity(): boolean {
    return this.#tls.hasIdentity;
  }

  override createConnection(...[options, callback]: Parameters<https.Agent['createConnection']>) {
    const { context, rejectUnauthorized } = this.#tls;
    const secured = { ...options, secureContext: context(), rejectUnauthorized };
    const socket = super.createConnection(secured, callback);
    const { onDial }: typeof options & { onDial?: (socket: Duplex) => void } = options;
    if (socket) onDial?.(socket);
    return socket;
  }
}

/** Whether servers get a client certificate over an agent. */
export function hasIdentity(agent: Agent): boolean {
  return agent instanceof DiallingAgent && agent.hasIdentity;
}
