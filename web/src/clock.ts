// Times of several contestants in turn, so that what disturbs one disturbs the others too; as in the program.

/** Executes so many times, and gives the seconds of all; null where it has given up. */
export interface Contestant {
  run(executions: number): Promise<number | null>;
}

/** How long sampling may take, in seconds. */
export interface Budget {
  /** A sample is at least so long, for the fixed cost of one. */
  readonly sample: number;
  /** Clocks have settled after so long. */
  readonly warmUp: number;
  /** The samples of one contestant take about so long, within their numbers. */
  readonly total: number;
  readonly samples: readonly [least: number, most: number];
}

/** For a row of the table: one dispatch may take a second on a processor. */
export function budgetOf(isSoftware: boolean): Budget {
  return isSoftware
    ? { sample: 0.015, warmUp: 0.08, total: 0.6, samples: [5, 30] }
    : { sample: 0.008, warmUp: 0.05, total: 0.25, samples: [15, 60] };
}

/** Seconds of an execution. */
export interface Times {
  readonly median: number;
  readonly p20: number;
  readonly p80: number;
}

const MAX_EXECUTIONS = 1 << 13;

/** Times of each contestant; null of one that gave up. */
export async function inTurn(
  contestants: readonly Contestant[],
  budget: Budget,
  signal: AbortSignal,
): Promise<(Times | null)[]> {
  const counts: (number | null)[] = [];
  for (const contestant of contestants) counts.push(await warmUp(contestant, budget, signal));
  const samples = counts.map((count) => (count === null ? null : ([] as number[])));
  const [least, most] = budget.samples;
  const [start, total] = [performance.now(), budget.total * 1e3 * contestants.length];
  for (let round = 0; round < most && (round < least || performance.now() - start < total); round++) {
    for (const [i, contestant] of contestants.entries()) {
      signal.throwIfAborted();
      const [count, kept] = [counts[i], samples[i]];
      if (count == null || kept == null) continue;
      const time = await contestant.run(count);
      if (time === null) samples[i] = null;
      else kept.push(time / count);
    }
  }
  return samples.map((values) => (values === null || values.length === 0 ? null : timesOf(values)));
}

/** Runs until clocks have settled, and gives the executions that fill a sample. */
async function warmUp(contestant: Contestant, budget: Budget, signal: AbortSignal): Promise<number | null> {
  const start = performance.now();
  // the first one compiles
  if ((await contestant.run(1)) === null) return null;
  for (let executions = 1; ;) {
    signal.throwIfAborted();
    const time = await contestant.run(executions);
    if (time === null) return null;
    if (time < budget.sample && executions < MAX_EXECUTIONS) executions *= 2;
    else if (performance.now() - start >= budget.warmUp * 1e3) return executions;
  }
}

function timesOf(values: number[]): Times {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))]!;
  return { median: at(0.5), p20: at(0.2), p80: at(0.8) };
}

/** Records one execution into a pass. */
export type Record = (pass: GPUComputePassEncoder) => void;

/** What times dispatches. */
export interface Clock {
  readonly name: string;
  /** Seconds of so many executions. */
  time(record: Record, executions: number): Promise<number>;
  destroy(): void;
}

/** The device's own clock, around one pass. */
export class TimestampClock implements Clock {
  readonly name = "timestamps";
  private readonly queries: GPUQuerySet;
  private readonly resolved: GPUBuffer;
  private readonly read: GPUBuffer;

  constructor(private readonly device: GPUDevice) {
    this.queries = device.createQuerySet({ type: "timestamp", count: 2 });
    this.resolved = device.createBuffer({ size: 16, usage: 0x200 | 0x4 }); // QUERY_RESOLVE | COPY_SRC
    this.read = device.createBuffer({ size: 16, usage: 0x1 | 0x8 }); // MAP_READ | COPY_DST
  }

  async time(record: Record, executions: number): Promise<number> {
    const { device, queries, resolved, read } = this;
    const encoder = device.createCommandEncoder();
    const timestampWrites = { querySet: queries, beginningOfPassWriteIndex: 0, endOfPassWriteIndex: 1 };
    const pass = encoder.beginComputePass({ timestampWrites });
    for (let i = 0; i < executions; i++) record(pass);
    pass.end();
    encoder.resolveQuerySet(queries, 0, 2, resolved, 0);
    encoder.copyBufferToBuffer(resolved, 0, read, 0, 16);
    device.queue.submit([encoder.finish()]);
    await read.mapAsync(1); // READ
    const [begin, end] = new BigUint64Array(read.getMappedRange());
    const seconds = Number(end! - begin!) / 1e9;
    read.unmap();
    return seconds;
  }

  destroy(): void {
    this.queries.destroy();
    this.resolved.destroy();
    this.read.destroy();
  }
}

/** The host's clock, until the device has done its work. */
export class WallClock implements Clock {
  readonly name: string;

  /** Beside peers each execution is a submit, as it is with them. */
  constructor(
    private readonly device: GPUDevice,
    private readonly submits: "one" | "each",
  ) {
    this.name = submits === "each" ? "wall clock, a submit for each run" : "wall clock";
  }

  async time(record: Record, executions: number): Promise<number> {
    const { device } = this;
    const submits = this.submits === "each" ? executions : 1;
    const start = performance.now();
    for (let submit = 0; submit < submits; submit++) {
      const encoder = device.createCommandEncoder();
      const pass = encoder.beginComputePass();
      for (let i = 0; i < executions / submits; i++) record(pass);
      pass.end();
      device.queue.submit([encoder.finish()]);
    }
    await device.queue.onSubmittedWorkDone();
    return (performance.now() - start) / 1e3;
  }

  destroy(): void {}
}
