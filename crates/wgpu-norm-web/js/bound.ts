import type { NormEngine } from "./engine.js";
import { type NormError, refusedBindings } from "./error.js";
import type { ByName } from "./recipe.js";

/** @internal */
export interface Step {
  pipeline: GPUComputePipeline;
  bindGroup: GPUBindGroup;
  workgroups: [number, number];
}

/** A norm bound to buffers. Recording it allocates nothing, submits nothing and waits for nothing. */
export class BoundNorm {
  #steps: Step[] | undefined;

  /**
   * Resolves when the device has accepted kernels and bindings; rejects with a `NormError`: `BindError::Pipeline`,
   * `BindError::Device` (a buffer of another device), `BindError::NoWorkspace`. Nobody has to wait for it before
   * recording; where nobody handles a rejection, it is reported as any unhandled one.
   */
  readonly ready: Promise<void>;

  /** @internal */
  constructor(
    private readonly engine: NormEngine,
    /** Label of its debug group. */
    readonly label: string,
    /** What it does, as data; kernels by their names. `docs/recipe.md` of the repository describes it. */
    readonly recipes: ByName[],
    steps: Step[],
    private readonly own: GPUBuffer[],
    verdicts: Promise<NormError | undefined>[],
  ) {
    this.#steps = steps;
    this.ready = Promise.all(verdicts).then((all) => {
      engine.assertAlive();
      const refused = all.find((error) => error);
      if (refused) throw refused;
    });
  }

  /** Number of dispatches. */
  get dispatchCount(): number {
    return this.#steps?.length ?? 0;
  }

  /**
   * Records the norm into a compute pass of the caller's. Overwrites the pass's pipeline and bind group 0, nothing
   * else.
   *
   * @throws NormError `BindError::Device` where the binding was destroyed, or the device is lost.
   */
  record(pass: GPUComputePassEncoder): void {
    this.#each(pass, ([x, y]) => pass.dispatchWorkgroups(x, y));
  }

  /**
   * Asks the device whether it would run this: submits the binding with no workgroup, which computes and writes
   * nothing. It is the only way to learn of a buffer that was destroyed.
   *
   * @throws NormError As `ready`, and `BindError::Device` of destroyed buffers and lost devices.
   */
  async check(): Promise<void> {
    await this.ready;
    const { device } = this.engine;
    const [, refused] = this.engine.scoped(() => {
      const encoder = device.createCommandEncoder({ label: this.label });
      const pass = encoder.beginComputePass({ label: this.label });
      this.#each(pass, () => pass.dispatchWorkgroups(0, 0));
      pass.end();
      device.queue.submit([encoder.finish()]);
    });
    const message = await refused;
    this.engine.assertAlive();
    if (message) throw refusedBindings(message);
  }

  /** Frees what was made for this binding: parameters. It cannot be recorded any more. */
  destroy(): void {
    this.#steps = undefined;
    this.own.forEach((buffer) => buffer.destroy());
  }

  #each(pass: GPUComputePassEncoder, dispatch: (workgroups: [number, number]) => void): void {
    this.engine.assertAlive();
    if (!this.#steps) throw refusedBindings("they were destroyed");
    pass.pushDebugGroup(this.label);
    for (const { pipeline, bindGroup, workgroups } of this.#steps) {
      pass.setPipeline(pipeline);
      pass.setBindGroup(0, bindGroup);
      dispatch(workgroups);
    }
    pass.popDebugGroup();
  }
}
