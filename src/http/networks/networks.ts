/** Lists of networks, for the checks of this folder. They lie below, since `config/` parses them, too. */
export { type Networks, parseNetworks } from '../../util/network/networks.ts';
