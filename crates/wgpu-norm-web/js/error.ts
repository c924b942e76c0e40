/**
 * What the library refuses, before anything is recorded or written.
 *
 * `code` names the kind of mistake as the Rust library does, and is what programs compare; `message` says it with its
 * numbers, in the same words:
 *
 * - `ArgumentError::...`: a field that is unknown, missing or of another type
 * - `PlanError::...`: a descriptor that cannot be planned
 * - `BindError::...`: views that do not fit the norm, and what the device refuses
 * - `EngineError::Limit`: a device whose limits are too low
 * - `Internal`: a mistake of this library; please report it
 */
export class NormError extends Error {
  override readonly name = "NormError";

  constructor(
    /** The kind of mistake, as `"BindError::OutOfBounds"`. */
    readonly code: string,
    message: string,
  ) {
    super(message);
  }
}

// What only a host of the library can find out, in the words of `src/error.rs` (a Rust test compares them).

export const refusedBindings = (message: string) =>
  new NormError("BindError::Device", `the device refused the bindings: ${message}`);

export const refusedWorkspace = (size: number, message: string) =>
  new NormError("BindError::NoWorkspace", `the device refused a workspace of ${size} bytes: ${message}`);

export const refusedKernel = (kernel: string, message: string) =>
  new NormError("BindError::Pipeline", `the device refused kernel ${kernel}: ${message}`);

export const wrongType = (path: string, actual: string, expected: string) =>
  new NormError("ArgumentError::WrongType", `${path} is ${actual}, ${expected} is wanted`);
