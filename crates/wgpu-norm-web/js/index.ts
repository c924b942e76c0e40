export { BoundNorm } from "./bound.js";
export { type EngineOptions, NormEngine } from "./engine.js";
export { NormError } from "./error.js";
export type { DeviceOptions } from "./facts.js";
export { AdaptiveNorm, Norm, PlannedNorm, SpectralNorm } from "./norm.js";
export type { WasmSource } from "./planner.js";
export { type ByName, type Dispatch, type Kernel, moduleSource, type Recipe } from "./recipe.js";
export type * from "./types.js";
