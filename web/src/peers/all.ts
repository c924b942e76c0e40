// Peers by name, fetched when they are asked for. They are compiled where their packages are installed, so that no
// other module names theirs.

import type { Opened } from "../gpu.js";
import type { Peer } from "./peer.js";

const NAMES = ["onnxruntime", "tfjs"];

/** What the module of a peer has. */
interface PeerModule {
  make(opened: Opened): Peer | Promise<Peer>;
}

/** Loads a peer; where its files are not there, it says how to get them. */
export async function load(name: string, opened: Opened): Promise<Peer> {
  if (!NAMES.includes(name)) throw new Error(`no peer is called ${name}`);
  let peer: PeerModule;
  try {
    peer = (await import(`./${name}.js`)) as PeerModule;
  } catch {
    throw new Error(`${name} is not there: scripts/web --peers serves the page with it`);
  }
  return await peer.make(opened);
}
