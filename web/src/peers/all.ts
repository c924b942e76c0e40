// Peers by name, fetched when they are asked for.

import type { Opened } from "../gpu.js";
import type { Peer } from "./peer.js";

type Make = (opened: Opened) => Peer | Promise<Peer>;

const PEERS: { readonly [name: string]: () => Promise<Make> } = {
  onnxruntime: async () => {
    const { OnnxRuntime } = await import("./onnxruntime.js");
    return ({ device }) => new OnnxRuntime(device);
  },
  tfjs: async () => {
    const { TensorFlow } = await import("./tfjs.js");
    return ({ device, info }) => TensorFlow.create(device, info);
  },
};

/** Loads a peer; where its files are not there, it says how to get them. */
export async function load(name: string, opened: Opened): Promise<Peer> {
  const fetched = PEERS[name];
  if (!fetched) throw new Error(`no peer is called ${name}`);
  let make: Make;
  try {
    make = await fetched();
  } catch {
    throw new Error(`${name} is not there: scripts/web --peers serves the page with it`);
  }
  return await make(opened);
}
