// The cases of the program: `wgpu-norm bench --suite reference --list` and `wgpu-norm verify --list`, a line each.

import type { AdaptiveDescriptor, NormDescriptor } from "wgpu-norm";

import type { RoofName } from "./roof.js";

/** A norm that is verified or measured. */
export type Descriptor = NormDescriptor | AdaptiveDescriptor;

/** A case of the benchmark. */
export interface BenchCase {
  readonly case: {
    readonly variant: "layer" | "rms" | "batch" | "instance" | "group";
    /** In the order N, C, spatial axes; rows and width. */
    readonly shape: readonly number[];
    readonly format: "rows" | "channels-first" | "channels-last";
    readonly pass: "forward" | "training" | "backward";
    readonly groups: number | null;
    readonly training: boolean;
    readonly eps: number;
  };
  readonly variant: string;
  readonly min_bytes: number;
  readonly bytes: number;
  readonly roof_elements: number;
  readonly roof: RoofName;
}

/** A case of the verification. */
export interface VerifyCase {
  readonly norm: Descriptor;
  readonly fills: readonly string[];
  readonly backward_fills: readonly string[];
  readonly given: boolean;
}

/** Elements up to which a case is small; as the program has it. */
const SMALL = 20_000;

/** Each kind once with f32 and once with 16-bit tensors: the largest small ones. */
export function eachOnce(cases: readonly VerifyCase[]): VerifyCase[] {
  const largest = new Map<string, { entry: VerifyCase; elements: number }>();
  for (const entry of cases) {
    const { kind, shape, types } = entry.norm;
    const key = `${kind} ${types === undefined ? 32 : 16}`;
    const elements = shape.reduce((product, size) => product * size, 1);
    if (elements <= SMALL && elements > (largest.get(key)?.elements ?? 0)) largest.set(key, { entry, elements });
  }
  return [...largest.values()].map(({ entry }) => entry);
}

/** Lines of JSON. */
export async function lines<T>(source: string): Promise<T[]> {
  const response = await fetch(source);
  if (!response.ok) throw new Error(`${source}: ${response.status} ${response.statusText}`);
  const text = await response.text();
  return text
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as T);
}

/** As the program calls it. */
export function nameOf({ case: { shape, format, pass }, variant }: BenchCase): string {
  return `${variant} ${shape.join("x")} ${format} ${pass}`;
}

export function elementsOf({ case: { shape } }: BenchCase): number {
  return shape.reduce((product, size) => product * size, 1);
}

/** Elements of scale, and of bias. */
export function parametersOf({ case: { shape } }: BenchCase): number {
  return shape[1] ?? 1;
}

/** Whether its statistics are given: inference of batch norm. */
export function isGiven({ case: { variant, pass, training } }: BenchCase): boolean {
  return variant === "batch" && pass === "forward" && !training;
}

/** As the package takes it. */
export function descriptorOf({ case: { variant, shape, format, groups, eps } }: BenchCase): NormDescriptor {
  const memory = format === "channels-last" ? [shape[0]!, ...shape.slice(2), shape[1]!] : [...shape];
  const norm = { shape: memory, eps, affine: "scale-and-bias" as const };
  if (variant === "layer" || variant === "rms") return { ...norm, kind: variant, axes: [1] };
  const placed = {
    ...norm,
    format: format === "channels-last" ? ("channels-last" as const) : ("channels-first" as const),
  };
  return variant === "group" ? { ...placed, kind: "group", groups: groups ?? 1 } : { ...placed, kind: variant };
}
