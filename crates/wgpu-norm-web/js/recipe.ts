// Flags of WebGPU, whose names TypeScript's own declarations leave out.
export const STORAGE = 0x80;
export const UNIFORM = 0x40;
export const COMPUTE = 0x4;

/** A recipe: what a host has to do for one operation. `docs/recipe.md` of the repository describes it. */
export interface Recipe {
  version: number;
  operation: string;
  /** The buffers, each once; `name` is the place in `PlannedRecipe.buffers`. */
  buffers: { id: number; name: string; size: number }[];
  kernels: Kernel[];
  dispatches: Dispatch[];
}

/** A kernel of a recipe. */
export interface Kernel {
  /** All that its code depends on. */
  name: string;
  /** WGSL, without the directives that browsers want: see `moduleSource`. */
  source: string;
  entry_point: string;
  constants: Record<string, number>;
  subgroups: boolean;
  bindings: { binding: number; access: "read" | "read_write"; operands: string[] }[];
}

/** A dispatch of a recipe. */
export interface Dispatch {
  kernel: number;
  workgroups: [number, number];
  /** The uniform block at binding 0, in hexadecimal digits. */
  parameters: string;
  bindings: { binding: number; buffer: number; offset: number; size: number; access: string }[];
}

/** Of a recipe whose kernels are known by their names. */
export type ByName = Omit<Recipe, "kernels"> & { kernels: string[] };

/** The WGSL that a browser compiles: with the directives for subgroups, where a kernel has such operations. */
export function moduleSource(kernel: Kernel): string {
  const directives = "enable subgroups;\ndiagnostic(off, subgroup_uniformity);\n";
  return kernel.subgroups ? directives + kernel.source : kernel.source;
}

/** Bytes from hexadecimal digits. */
export function bytesOf(digits: string): Uint8Array {
  return Uint8Array.from({ length: digits.length / 2 }, (_, i) => parseInt(digits.slice(2 * i, 2 * i + 2), 16));
}

/** Arguments as JSON, with each buffer's number, size and usage in its place; `buffers` gets the buffers. */
export function describe(args: unknown, buffers: GPUBuffer[]): string {
  const replace = (_key: string, value: unknown): unknown => {
    switch (typeof value) {
      case "number":
        return Number.isFinite(value) ? value : String(value);
      case "bigint":
        return BigInt(Number(value)) === value ? Number(value) : String(value);
      case "function":
      case "symbol":
        return `a ${typeof value}`;
    }
    if (isA<GPUBuffer>(value, "GPUBuffer")) {
      const known = buffers.indexOf(value);
      const gpuBuffer = known < 0 ? buffers.push(value) - 1 : known;
      return { gpuBuffer, size: value.size, usage: value.usage };
    }
    return ArrayBuffer.isView(value) && !(value instanceof DataView) ? Array.from(value as Uint8Array) : value;
  };
  return JSON.stringify(args, replace) ?? "null";
}

/** Whether a value is an object of WebGPU of this name, of whatever window or worker. */
export function isA<T>(value: unknown, name: string): value is T {
  return Object.prototype.toString.call(value) === `[object ${name}]`;
}
