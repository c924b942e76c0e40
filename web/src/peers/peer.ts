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

/** Seconds for whatever a peer is asked for. */
const LIMIT = 30;

/** A peer that did not answer in time: it may do so at any time after. */
export class Lost extends Error {}

/** What is promised, or `Lost` after the limit. */
export async function within<T>(promised: Promise<T>): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const limit = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(new Lost(`it did not end within ${LIMIT} s, and is not asked again`));
    }, LIMIT * 1e3);
  });
  try {
    return await Promise.race([promised, limit]);
  } finally {
    clearTimeout(timer);
  }
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
