// The schema of `wgpu-norm bench --json`, version 2.

import type { RoofName } from "./roof.js";

/** Which case, by whom; ours has no peer. */
interface Named {
  peer: string | null;
  variant: string;
  shape: string;
  format: string;
  dtype: string;
  parameters: string;
  pass: string;
}

export interface Row extends Named {
  schedule: string;
  median_ms: number;
  p20_ms: number;
  p80_ms: number;
  min_bytes: number;
  gbps: number;
  roof: RoofName;
  roof_gbps: number;
  roof_elements: number;
  ratio: number;
  error: number | null;
}

export interface Skipped extends Named {
  needs_bytes: number;
  why: string;
}

export interface Report {
  schema: 2;
  adapter: string;
  driver: string;
  backend: string;
  device_type: string;
  date: string;
  command: string;
  clock: string;
  version: string;
  cold_start_ms: number;
  roofs: { [name: string]: number };
  notes: string[];
  rows: Row[];
  skipped: Skipped[];
}

/** GB/s of each roof over the rows beside which it was measured. */
export function mediansOfRoofs(rows: readonly Row[]): { [name: string]: number } {
  const roofs: { [name: string]: number } = {};
  for (const name of ["copy", "triad"]) {
    const values = rows.filter((row) => row.roof === name && row.peer === null).map((row) => row.roof_gbps);
    values.sort((a, b) => a - b);
    if (values.length > 0) roofs[name] = values[Math.floor(values.length / 2)]!;
  }
  return roofs;
}
