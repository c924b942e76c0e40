// One case after the other: a norm, its roof over the same buffers, and peers, in turn.

import type { BoundNorm } from "wgpu-norm";

import { checked, download, tensor, wordsFor } from "./buffers.js";
import { type BenchCase, descriptorOf, elementsOf, isGiven, nameOf, parametersOf } from "./cases.js";
import {
  type Budget,
  type Clock,
  type Contestant,
  type Record,
  type Times,
  TimestampClock,
  WallClock,
  budgetOf,
  inTurn,
} from "./clock.js";
import { explain } from "./dom.js";
import type { Opened } from "./gpu.js";
import { type Inputs, Lost, type Peer, type Prepared, Unsupported, within } from "./peers/peer.js";
import type { Reference } from "./reference.js";
import { type Report, type Row, type Skipped, mediansOfRoofs } from "./report.js";
import { Roofs, TENSORS } from "./roof.js";

/** A peer's result further from the reference, in units of its magnitude, is wrong. */
const TOLERANCE = 1e-3;
/** Elements up to which results are compared with the reference. */
const CHECKED = 1 << 22;
/** Buffers rotate over so many bytes, so that none is in a cache. */
const ROTATED = { gpu: 512 << 20, software: 64 << 20 };
const MOST_SETS = 8;

/** What the benchmark says of itself while it runs. */
export type Progress = (done: number, total: number, words: string) => void;

/** Measures cases; ends early with what there is when it is told to. */
export async function bench(
  opened: Opened,
  reference: Reference,
  cases: readonly BenchCase[],
  peers: readonly Peer[],
  command: string,
  signal: AbortSignal,
  progress: Progress,
): Promise<Report> {
  const { device, info } = opened;
  // a peer knows nothing of the device's clock
  const clock =
    peers.length > 0 || !device.features.has("timestamp-query")
      ? new WallClock(device, peers.length > 0 ? "each" : "one")
      : new TimestampClock(device);
  const report: Report = {
    schema: 2,
    adapter: opened.name,
    driver: [info.vendor, info.architecture, navigator.userAgent].filter((word) => word !== "").join(", "),
    backend: "browser-webgpu",
    device_type: opened.isSoftware ? "software" : "other",
    date: new Date().toISOString().replace(/\.\d+Z$/, "Z"),
    command,
    clock: clock.name,
    version: reference.version(),
    cold_start_ms: opened.coldStartMs,
    roofs: {},
    notes: [],
    rows: [],
    skipped: [],
  };
  const budget = budgetOf(opened.isSoftware);
  try {
    progress(0, cases.length, "roofs");
    const bound: Bench = {
      opened,
      reference,
      clock,
      budget,
      signal,
      lost: new Set(),
      roofs: await Roofs.create(device, clock, budget, signal),
    };
    for (const [index, entry] of cases.entries()) {
      progress(index, cases.length, nameOf(entry));
      const say = (words: string) => progress(index, cases.length, `${nameOf(entry)}: ${words}`);
      await measure(bound, entry, peers, report, say);
    }
  } catch (error) {
    // what was measured is kept, whatever ended it
    const measured = report.rows.filter((row) => row.peer === null).length;
    if (measured === 0) throw error;
    const why = signal.aborted ? "" : `: ${explain(error)}`;
    report.notes.push(`ended after ${measured} of ${cases.length} cases${why}`);
  } finally {
    clock.destroy();
    peers.forEach((peer) => peer.destroy());
  }
  const unchecked = report.rows.filter((row) => row.peer === null && row.error === null).length;
  if (unchecked > 0)
    report.notes.push(`${unchecked} cases of more than ${CHECKED} elements were not compared with the reference`);
  report.roofs = mediansOfRoofs(report.rows);
  return report;
}

interface Bench {
  readonly opened: Opened;
  readonly reference: Reference;
  readonly clock: Clock;
  readonly budget: Budget;
  readonly signal: AbortSignal;
  readonly roofs: Roofs;
  /** Peers that did not answer in time. */
  readonly lost: Set<Peer>;
}

/** What a case reads and writes on the device. */
interface Rig {
  readonly sets: readonly { input: GPUBuffer; second: GPUBuffer | null; output: GPUBuffer }[];
  readonly records: readonly Record[];
  /** By the names of the reference. */
  readonly results: ReadonlyMap<string, GPUBuffer>;
  readonly schedule: string;
  readonly inputs: Inputs;
  destroy(): void;
}

async function measure(
  bench: Bench,
  entry: BenchCase,
  peers: readonly Peer[],
  report: Report,
  say: (words: string) => void,
): Promise<void> {
  const {
    opened: { device },
    clock,
    budget,
    signal,
  } = bench;
  const tensorBytes = 4 * elementsOf(entry);
  const needs = tensorBytes * (entry.case.pass === "backward" ? 3 : 2);
  const without = (peer: string | null, why: string): Skipped => ({ ...caseOf(entry), peer, needs_bytes: needs, why });
  const most = Math.min(device.limits.maxStorageBufferBindingSize, device.limits.maxBufferSize);
  if (tensorBytes > most) {
    report.skipped.push(without(null, `a tensor has ${tensorBytes} bytes, this device has buffers of ${most} at most`));
    return;
  }
  let rig: Rig;
  try {
    rig = await checked(device, () => prepare(bench, entry, needs));
  } catch (error) {
    signal.throwIfAborted();
    report.skipped.push(without(null, explain(error)));
    return;
  }
  const prepared: { name: string; contestant: Contestant }[] = [];
  const failures = new Map<Contestant, string>();
  try {
    for (const peer of peers.filter((peer) => !bench.lost.has(peer))) {
      try {
        say(`preparing ${peer.name}`);
        const contestant = await within(peer.prepare(entry, rig.inputs));
        const error = comparable(entry) ? await errorOf(bench, contestant) : 0;
        if (!(error <= TOLERANCE)) throw new Error(`its result is off by ${error.toExponential(1)} of its magnitude`);
        prepared.push({ name: peer.name, contestant: forgiving(contestant, failures, () => bench.lost.add(peer)) });
      } catch (error) {
        signal.throwIfAborted();
        if (error instanceof Lost) bench.lost.add(peer);
        // what a peer does not have is no news; what it fails is
        if (!(error instanceof Unsupported)) report.skipped.push(without(peer.name, explain(error)));
      }
    }
    say("in turn");
    const roofs = rig.sets.map(({ input, second, output }) =>
      bench.roofs.bind(entry.roof, [input, second ?? input, output]),
    );
    const contestants = [
      rotating(clock, roofs),
      rotating(clock, rig.records),
      ...prepared.map((peer) => peer.contestant),
    ];
    const [roof, ours, ...others] = await inTurn(contestants, budget, signal);
    if (!roof || !ours) throw new Error("the device gave no times");
    const roofGbps = (TENSORS[entry.roof] * rig.sets[0]!.input.size) / roof.median / 1e9;
    const error = await worstError(bench, entry, rig);
    report.rows.push({ ...rowOf(entry, ours, roofGbps), schedule: rig.schedule, error });
    for (const [i, { name, contestant }] of prepared.entries()) {
      const times = others[i];
      if (times) report.rows.push({ ...rowOf(entry, times, roofGbps), peer: name });
      else report.skipped.push(without(name, failures.get(contestant) ?? "it gave no times"));
    }
  } finally {
    peers.filter((peer) => !bench.lost.has(peer)).forEach((peer) => peer.release());
    rig.destroy();
  }
}

/** Whether peers compute the same: root mean square norms of others have no bias. */
function comparable(entry: BenchCase): boolean {
  return entry.case.variant !== "rms" && elementsOf(entry) <= CHECKED;
}

/** How far a peer's result is from the reference. */
async function errorOf({ reference }: Bench, peer: Prepared): Promise<number> {
  const values = await within(peer.result());
  const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  const { error, misplaced } = reference.judge("output", bytes);
  return misplaced > 0 ? Infinity : error;
}

/** A peer that fails gives up, and takes nothing along. */
function forgiving(peer: Contestant, failures: Map<Contestant, string>, lose: () => void): Contestant {
  const contestant: Contestant = {
    async run(executions) {
      try {
        return await within(peer.run(executions));
      } catch (error) {
        if (error instanceof Lost) lose();
        failures.set(contestant, explain(error));
        return null;
      }
    },
  };
  return contestant;
}

/** One set of buffers after the other. */
function rotating(clock: Clock, records: readonly Record[]): Contestant {
  let next = 0;
  const record: Record = (pass) => {
    records[next]!(pass);
    next = (next + 1) % records.length;
  };
  return { run: (executions) => clock.time(record, executions) };
}

async function prepare(bench: Bench, entry: BenchCase, needs: number): Promise<Rig> {
  const {
    opened: { device, engine, isSoftware },
    reference,
  } = bench;
  const descriptor = descriptorOf(entry);
  const { pass } = entry.case;
  const made: { destroy(): void }[] = [];
  const keep = (content: Float32Array | Uint8Array | number) => {
    const buffer = tensor(device, content);
    made.push(buffer);
    return buffer;
  };
  const norm = engine.norm(descriptor);
  const bind = (bound: BoundNorm) => {
    made.push(bound);
    return bound;
  };
  const destroy = () => {
    made.forEach((thing) => thing.destroy());
  };
  try {
    const operands = new Map<string, Uint8Array>();
    if (elementsOf(entry) <= CHECKED) {
      for (const { name, bytes } of reference.case(descriptor, "normal", isGiven(entry)).operands)
        operands.set(name, bytes);
    } else {
      drawn(entry).forEach((values, name) => operands.set(name, new Uint8Array(values.buffer)));
    }
    const bytes = wordsFor(4 * elementsOf(entry));
    const rotated = isSoftware ? ROTATED.software : ROTATED.gpu;
    const count = Math.min(MOST_SETS, Math.max(1, Math.ceil(rotated / needs)));
    const parameter = (name: string) => keep(operands.get(name)!);
    const [scale, bias] = [parameter("scale"), parameter("bias")];
    const sets = Array.from({ length: count }, () => ({
      input: keep(operands.get("input")!),
      second: pass === "backward" ? keep(operands.get("gradOutput")!) : null,
      output: keep(bytes),
    }));
    const results = new Map<string, GPUBuffer>();
    const saved = keep(Math.max(norm.plan.statisticsSize, 16));
    let schedule = norm.plan.schedule;
    let bounds: BoundNorm[];
    if (isGiven(entry)) {
      const given = keep(norm.plan.givenStatisticsSize);
      submit(device, [bind(norm.bindImport({ mean: parameter("mean"), variance: parameter("variance"), given }))]);
      const statistics = { given };
      bounds = sets.map(({ input, output }) => bind(norm.bindForward({ input, output, scale, bias, statistics })));
      schedule = "given";
    } else if (pass === "forward") {
      bounds = sets.map(({ input, output }) => bind(norm.bindForward({ input, output, scale, bias })));
    } else if (pass === "training") {
      bounds = sets.map(({ input, output }) => bind(norm.bindTraining({ input, output, saved, scale, bias })));
    } else {
      const { input, output } = sets[0]!;
      submit(device, [bind(norm.bindTraining({ input, output, saved, scale, bias }))]);
      const [gradScale, gradBias] = [keep(4 * parametersOf(entry)), keep(4 * parametersOf(entry))];
      results.set("gradScale", gradScale).set("gradBias", gradBias);
      const statistics = { saved };
      bounds = sets.map(({ input, second, output }) => {
        const grads = { gradOutput: second!, gradInput: output, gradScale, gradBias };
        return bind(norm.bindBackward({ input, statistics, scale, ...grads }));
      });
      schedule = norm.plan.backwardSchedule;
    }
    results.set(pass === "backward" ? "gradInput" : "output", sets[0]!.output);
    await Promise.all(bounds.map((bound) => bound.ready));
    const numbers = (name: string) => {
      const bytes = operands.get(name);
      return bytes ? new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4) : undefined;
    };
    const inputs: Inputs = { buffers: sets.map((set) => set.input), numbers };
    const records = bounds.map(
      (bound): Record =>
        (pass) =>
          bound.record(pass),
    );
    return { sets, records, results, schedule, inputs, destroy };
  } catch (error) {
    destroy();
    throw error;
  }
}

function submit(device: GPUDevice, bounds: readonly { record(pass: GPUComputePassEncoder): void }[]): void {
  const encoder = device.createCommandEncoder();
  const pass = encoder.beginComputePass();
  bounds.forEach((bound) => bound.record(pass));
  pass.end();
  device.queue.submit([encoder.finish()]);
}

/** Operands of a case that is not compared with the reference. */
function drawn(entry: BenchCase): Map<string, Float32Array> {
  const uniform = (length: number, low: number, high: number) =>
    Float32Array.from({ length }, () => low + (high - low) * Math.random());
  const [elements, parameters] = [elementsOf(entry), parametersOf(entry)];
  return new Map([
    ["input", uniform(elements, -2, 2)],
    ["gradOutput", uniform(entry.case.pass === "backward" ? elements : 0, -2, 2)],
    ...["scale", "variance"].map((name) => [name, uniform(parameters, 0.5, 1.5)] as const),
    ...["bias", "mean"].map((name) => [name, uniform(parameters, -0.5, 0.5)] as const),
  ]);
}

/** What was timed, once more over poisoned results; null where there is nothing to compare with. */
async function worstError(bench: Bench, entry: BenchCase, rig: Rig): Promise<number | null> {
  if (elementsOf(entry) > CHECKED) return null;
  const {
    opened: { device },
    reference,
  } = bench;
  const poison = new Uint8Array(rig.sets[0]!.output.size).fill(0xff);
  rig.results.forEach((buffer) => device.queue.writeBuffer(buffer, 0, poison, 0, buffer.size));
  submit(device, [{ record: rig.records[0]! }]);
  const parts = [...rig.results].map(([name, buffer]) => {
    const parameter = name === "gradScale" || name === "gradBias";
    return { name, buffer, size: 4 * (parameter ? parametersOf(entry) : elementsOf(entry)) };
  });
  const downloaded = await download(device, parts);
  const verdicts = parts.map(({ name }, i) => reference.judge(name, downloaded[i]!));
  return Math.max(...verdicts.map(({ error, misplaced }) => (misplaced > 0 ? Number.MAX_VALUE : error)));
}

function caseOf({ case: { shape, format, pass }, variant }: BenchCase) {
  return { variant, shape: shape.join("x"), format, dtype: "f32", parameters: "f32", pass };
}

function rowOf(entry: BenchCase, { median, p20, p80 }: Times, roofGbps: number): Row {
  const { min_bytes, bytes, roof, roof_elements } = entry;
  return {
    ...caseOf(entry),
    peer: null,
    schedule: "",
    median_ms: median * 1e3,
    p20_ms: p20 * 1e3,
    p80_ms: p80 * 1e3,
    min_bytes,
    gbps: min_bytes / median / 1e9,
    roof,
    roof_gbps: roofGbps,
    roof_elements,
    ratio: bytes / (roofGbps * 1e9) / median,
    error: null,
  };
}
