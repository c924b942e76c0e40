// Other implementations on the same device.

import type { BenchCase } from "../cases.js";
import type { Contestant } from "../clock.js";

/** A case that a peer does not have. */
export class Unsupported extends Error {}

/** What a case computes from. */
export interface Inputs {
  /** The input, once for each set of buffers. */
  readonly buffers: readonly GPUBuffer[];
  /** An operand in memory. */
  numbers(name: string): Float32Array | undefined;
}

/** A case that a peer has made ready. */
export interface Prepared extends Contestant {
  /** What it computes from the first input. */
  result(): Promise<Float32Array>;
}

/** Another implementation. */
export interface Peer {
  /** With its version. */
  readonly name: string;
  /** Makes a case ready, or throws `Unsupported`. */
  prepare(entry: BenchCase, inputs: Inputs): Promise<Prepared>;
  /** Frees what the last case needed. */
  release(): void;
  destroy(): void;
}

/** Runs, and times the host until the device has done its work. */
export function timed(device: GPUDevice, runOnce: (turn: number) => Promise<void> | void): Contestant {
  let turn = 0;
  return {
    async run(executions) {
      await device.queue.onSubmittedWorkDone();
      const start = performance.now();
      for (let i = 0; i < executions; i++) await runOnce(turn++);
      await device.queue.onSubmittedWorkDone();
      return (performance.now() - start) / 1e3;
    },
  };
}
