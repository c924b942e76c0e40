// Every norm against the f64 reference: forward, by given statistics, training, backward.

import { AdaptiveNorm, type AdaptiveOperations, type BoundNorm, type Norm, type NormOperations } from "wgpu-norm";

import { checked, download, tensor } from "./buffers.js";
import type { Descriptor, VerifyCase } from "./cases.js";
import { explain } from "./dom.js";
import type { Opened } from "./gpu.js";
import type { Expected, Operand, Reference, Verdict } from "./reference.js";

export const PASSES = ["forward", "training", "backward"] as const;
export type Pass = (typeof PASSES)[number];

/** One result of one norm. */
export interface Outcome {
  readonly kind: string;
  /** Of tensors, and of parameters where theirs is another. */
  readonly types: string;
  readonly pass: Pass;
  /** The norm, what it was filled with, and which result, in words. */
  readonly what: string;
  readonly passes: boolean;
  readonly error: number;
  /** What is wrong, where it is. */
  readonly why: string;
}

/** Runs the cases; `report` takes the outcomes of each. */
export async function verify(
  opened: Opened,
  reference: Reference,
  cases: readonly VerifyCase[],
  signal: AbortSignal,
  report: (done: number, outcomes: readonly Outcome[]) => void,
): Promise<void> {
  for (const [index, entry] of cases.entries()) {
    signal.throwIfAborted();
    report(index + 1, await verifyCase(opened, reference, entry, signal));
  }
}

async function verifyCase(
  opened: Opened,
  reference: Reference,
  entry: VerifyCase,
  signal: AbortSignal,
): Promise<Outcome[]> {
  const outcomes: Outcome[] = [];
  const fills = [...new Set([...entry.fills, ...entry.backward_fills])];
  for (const fill of fills) {
    const wanted = { forward: entry.fills.includes(fill), backward: entry.backward_fills.includes(fill) };
    for (const given of entry.given ? [false, true] : [false]) {
      signal.throwIfAborted();
      const words = `${wordsOf(entry.norm)}, ${fill}${given ? ", given statistics" : ""}`;
      try {
        outcomes.push(...(await run(opened, reference, entry, { fill, given, wanted, words })));
      } catch (error) {
        signal.throwIfAborted();
        outcomes.push(failure(entry.norm, "forward", words, error));
      }
    }
  }
  return outcomes;
}

interface Setting {
  readonly fill: string;
  readonly given: boolean;
  readonly wanted: { readonly forward: boolean; readonly backward: boolean };
  readonly words: string;
}

/** All passes over the same operands, in one submit. */
async function run(
  { device, engine }: Opened,
  reference: Reference,
  entry: VerifyCase,
  { fill, given, wanted, words }: Setting,
): Promise<Outcome[]> {
  const { operands, expected } = reference.case(entry.norm, fill, given);
  const norm = entry.norm.kind === "adain" ? engine.norm(entry.norm) : engine.norm(entry.norm);
  const made: { destroy(): void }[] = [];
  const keep = (content: Uint8Array | number) => {
    const buffer = tensor(device, content);
    made.push(buffer);
    return buffer;
  };
  try {
    const results: { pass: Pass; name: string; buffer: GPUBuffer; size: number }[] = [];
    await checked(device, async () => {
      const inputs = upload(operands, keep);
      const result = (pass: Pass, name: string) => {
        const { element, length } = expected.find((result) => result.name === name)!;
        const size = length * bytesOf(element);
        const buffer = keep(size);
        results.push({ pass, name, buffer, size });
        return buffer;
      };
      const saved = keep(Math.max(norm.plan.statisticsSize, 16));
      const operations =
        norm instanceof AdaptiveNorm
          ? byStyle(norm, inputs, expected, result, saved, wanted)
          : given
            ? byGiven(norm, inputs, expected, result, wanted)
            : bySaved(norm, inputs, expected, result, saved, wanted);
      // all of them at once: a browser compiles on several threads
      await Promise.all(operations.map(({ warmUp }) => warmUp()));
      const bounds = operations.map(({ bind }) => bind());
      made.push(...bounds);
      await Promise.all(bounds.map((bound) => bound.ready));
      const encoder = device.createCommandEncoder();
      const pass = encoder.beginComputePass();
      bounds.forEach((bound) => bound.record(pass));
      pass.end();
      device.queue.submit([encoder.finish()]);
    });
    const downloaded = await download(device, results);
    return results.map(({ pass, name }, i) =>
      outcome(entry.norm, pass, `${words}: ${name}`, reference.judge(name, downloaded[i]!)),
    );
  } finally {
    made.forEach((thing) => thing.destroy());
  }
}

type Buffers = { readonly [name: string]: GPUBuffer };
type Result = (pass: Pass, name: string) => GPUBuffer;
type Wanted = Setting["wanted"];
/** An operation on its buffers: its kernels are compiled, then it is bound. */
interface Operation {
  readonly warmUp: () => Promise<void>;
  readonly bind: () => BoundNorm;
}

function operation<Name extends keyof NormOperations>(norm: Norm, name: Name, args: NormOperations[Name]): Operation {
  return { warmUp: () => norm.warmUp(name, args), bind: () => norm.bind(name, args) };
}

function adaptive<Name extends keyof AdaptiveOperations>(
  norm: AdaptiveNorm,
  name: Name,
  args: AdaptiveOperations[Name],
): Operation {
  return { warmUp: () => norm.warmUp(name, args), bind: () => norm.bind(name, args) };
}

function upload(operands: readonly Operand[], keep: (content: Uint8Array) => GPUBuffer): Buffers {
  return Object.fromEntries(operands.map(({ name, bytes }) => [name, keep(bytes)]));
}

/** Gradients that the norm has, each with a buffer. */
function gradients(expected: readonly Expected[], result: Result): Buffers {
  const names = expected.map(({ name }) => name).filter((name) => name.startsWith("grad"));
  return Object.fromEntries(names.map((name) => [name, result("backward", name)]));
}

/** Those of some names that are there. */
function present(buffers: Buffers, ...names: string[]): Buffers {
  return Object.fromEntries(names.flatMap((name) => (buffers[name] ? [[name, buffers[name]]] : [])));
}

/** An adaptive norm saves in its forward pass what it needs on the way back. */
function byStyle(
  norm: AdaptiveNorm,
  { input, style, gradOutput }: Buffers,
  expected: readonly Expected[],
  result: Result,
  saved: GPUBuffer,
  wanted: Wanted,
): Operation[] {
  const content = { input: input!, style: style! };
  return [
    ...(wanted.forward ? [adaptive(norm, "forward", { ...content, output: result("forward", "output") })] : []),
    adaptive(norm, "forward", { ...content, saved, output: result("training", "output") }),
    ...(wanted.backward
      ? [adaptive(norm, "backward", { ...content, gradOutput: gradOutput!, saved, ...gradients(expected, result) })]
      : []),
  ];
}

/** Statistics of the input's own. */
function bySaved(
  norm: Norm,
  inputs: Buffers,
  expected: readonly Expected[],
  result: Result,
  saved: GPUBuffer,
  wanted: Wanted,
): Operation[] {
  const [input, gradOutput] = [inputs["input"]!, inputs["gradOutput"]!];
  const parameters = present(inputs, "scale", "bias");
  const onto = (pass: Pass) => ({ input, output: result(pass, "output") });
  const back = { input, gradOutput, statistics: { saved }, ...present(inputs, "scale") };
  return [
    ...(wanted.forward ? [operation(norm, "forward", { ...onto("forward"), ...parameters })] : []),
    operation(norm, "training", { ...onto("training"), saved, ...parameters }),
    ...(wanted.backward ? [operation(norm, "backward", { ...back, ...gradients(expected, result) })] : []),
  ];
}

/** Running statistics, in place of the input's own. */
function byGiven(
  norm: Norm,
  inputs: Buffers,
  expected: readonly Expected[],
  result: Result,
  wanted: Wanted,
): Operation[] {
  const [input, gradOutput] = [inputs["input"]!, inputs["gradOutput"]!];
  const statistics = { mean: inputs["mean"]!, variance: inputs["variance"]! };
  const onto = () => ({ output: result("forward", "output"), ...present(inputs, "scale", "bias") });
  const back = () => ({ gradOutput, ...present(inputs, "scale"), ...gradients(expected, result) });
  return [
    ...(wanted.forward ? [operation(norm, "forward", { input, statistics, ...onto() })] : []),
    ...(wanted.backward ? [operation(norm, "backward", { input, statistics, ...back() })] : []),
  ];
}

function bytesOf(element: Expected["element"]): number {
  return element === "f32" ? 4 : 2;
}

function outcome(norm: Descriptor, pass: Pass, what: string, verdict: Verdict): Outcome {
  const { passes, error, misplaced, index, actual, expected } = verdict;
  const places = misplaced > 0 ? `${misplaced} NaN or infinities in wrong places, ` : "";
  const why = passes ? "" : `${places}${actual} in place of ${expected} at ${index}`;
  return { kind: norm.kind, types: typesOf(norm), pass, what, passes, error, why };
}

function failure(norm: Descriptor, pass: Pass, what: string, error: unknown): Outcome {
  return { kind: norm.kind, types: typesOf(norm), pass, what, passes: false, error: 0, why: explain(error) };
}

function typesOf({ types }: Descriptor): string {
  if (typeof types === "string") return types;
  const [tensors, parameters] = [types?.input ?? "f32", types?.scale ?? "f32"];
  return parameters === tensors || parameters === "f32" ? tensors : `${tensors}/${parameters}`;
}

function wordsOf(norm: Descriptor): string {
  const shape = norm.shape.length > 0 ? norm.shape.join("x") : "of one number";
  return `${norm.kind} ${shape} ${typesOf(norm)}`;
}
