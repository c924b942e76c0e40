import { BoundNorm, type Step } from "./bound.js";
import { NormError, refusedBindings, refusedKernel, refusedWorkspace, wrongType } from "./error.js";
import { type DeviceOptions, factsOf } from "./facts.js";
import { AdaptiveNorm, Norm, SpectralNorm } from "./norm.js";
import { Planner, type WasmSource } from "./planner.js";
import { type ByName, bytesOf, COMPUTE, describe, isA, type Kernel, moduleSource, type Recipe } from "./recipe.js";
import { STORAGE, UNIFORM } from "./recipe.js";
import type { AdaptiveDescriptor, NormDescriptor, SpectralDescriptor } from "./types.js";

/** How an engine is made. */
export interface EngineOptions extends DeviceOptions {
  /** The WebAssembly module, where it does not lie beside this script. */
  wasm?: WasmSource;
  /** Prefix of the labels of everything the engine makes. */
  label?: string;
}

/** What the device says of something that was made, in its own time: nothing, or what is wrong. */
type Verdict = Promise<NormError | undefined>;

interface Compiled {
  pipeline: GPUComputePipeline;
  layout: GPUBindGroupLayout;
  verdict: Verdict;
}

/** Plans norms for one `GPUDevice` and compiles their kernels, each once. */
export class NormEngine {
  #lost: GPUDeviceLostInfo | undefined;
  #compiled = new Map<string, Compiled>();
  #workspaces: { buffer: GPUBuffer; verdict: Verdict }[] = [];

  private constructor(
    /** The caller's device. */
    readonly device: GPUDevice,
    /** Prefix of the labels of everything the engine makes. */
    readonly label: string,
    private readonly planner: Planner,
    private readonly facts: string,
  ) {
    device.lost.then((info) => (this.#lost = info));
  }

  /**
   * An engine on the caller's device. Any device will do: WebGPU's default limits and no feature are enough. With the
   * feature `subgroups` kernels are faster; with higher limits larger tensors are taken in one go.
   *
   * @throws NormError `EngineError::Limit` where the device has too few storage buffers, `BindError::Device` where it
   * is lost already, `ArgumentError::WrongType` where it is no device.
   */
  static async create(device: GPUDevice, options: EngineOptions = {}): Promise<NormEngine> {
    if (!isA<GPUDevice>(device, "GPUDevice")) throw wrongType("device", String(device), "a GPUDevice");
    const planner = await Planner.load(options.wasm);
    const engine = new NormEngine(device, options.label ?? "wgpu-norm", planner, factsOf(device, options));
    // a device that is lost already says so before this goes on
    await Promise.race([device.lost, Promise.resolve()]);
    engine.assertAlive();
    // facts that no norm can be planned for are refused here
    engine.ask(describe({ kind: "layer", shape: [1], axes: [0] }, []));
    return engine;
  }

  /**
   * Plans a norm: host work only, cheap enough to repeat when the batch size changes.
   *
   * @throws NormError `PlanError::...` says what is wrong with the descriptor.
   */
  norm(descriptor: NormDescriptor): Norm;
  norm(descriptor: AdaptiveDescriptor): AdaptiveNorm;
  norm(descriptor: SpectralDescriptor): SpectralNorm;
  norm(descriptor: NormDescriptor | AdaptiveDescriptor | SpectralDescriptor): Norm | AdaptiveNorm | SpectralNorm {
    this.assertAlive();
    // as text it is a value: what the caller does to the object later has no effect
    const text = describe(descriptor, []);
    const plan = this.ask(text) as never;
    const label = `${this.label} ${descriptor.label ?? descriptor.kind}`;
    const Kind = descriptor.kind === "adain" ? AdaptiveNorm : descriptor.kind === "spectral" ? SpectralNorm : Norm;
    return new Kind(this, label, text, plan);
  }

  /** Number of kernels compiled so far. */
  get compiledKernels(): number {
    return this.#compiled.size;
  }

  /** Frees the workspaces that the engine made. The device, and all that is the caller's, stay. */
  destroy(): void {
    for (const { buffer } of this.#workspaces.splice(0)) buffer.destroy();
    this.#compiled.clear();
  }

  /** @internal */
  ask(descriptor: string, operation?: string, args?: string, sources = false): unknown {
    const rest = operation === undefined ? "" : `,"operation":"${operation}","args":${args},"sources":${sources}`;
    return this.planner.ask(`{"facts":${this.facts},"descriptor":${descriptor}${rest}}`);
  }

  /** @internal */
  assertAlive(): void {
    if (this.#lost) throw refusedBindings(`it is lost (${this.#lost.reason}) ${this.#lost.message}`.trim());
  }

  /** @internal A workspace of so many bytes or more; norms take the same one after the other. */
  workspace(size: number): { buffer: GPUBuffer; verdict: Verdict } {
    const known = this.#workspaces.find((made) => made.buffer.size >= size);
    if (known) return known;
    const descriptor = { label: `${this.label} workspace`, size, usage: STORAGE };
    const [buffer, refused] = this.scoped(() => this.device.createBuffer(descriptor));
    const made = {
      buffer,
      verdict: refused.then((message) => (message ? refusedWorkspace(size, message) : undefined)),
    };
    this.#workspaces.push(made);
    return made;
  }

  /** @internal Binds recipes, to be recorded one after the other. `verdicts` are of what they need beside. */
  bind(label: string, recipes: PlannedRecipe[], verdicts: Verdict[], own: GPUBuffer[]): BoundNorm {
    const compiled = recipes.map(({ kernels }) => kernels.map((kernel) => this.#compile(kernel)));
    const [steps, refused] = this.scoped(() =>
      recipes.flatMap((planned, i) => this.#steps(label, planned, compiled[i] ?? [], own)),
    );
    const bindings = refused.then((message) => (message ? refusedBindings(message) : undefined));
    const all = [...verdicts, ...compiled.flat().map(({ verdict }) => verdict), bindings];
    return new BoundNorm(
      this,
      label,
      recipes.map(({ recipe }) => recipe),
      steps,
      own,
      all,
    );
  }

  /** @internal Compiles without blocking; all kernels are started before the first is waited for. */
  async compile(kernels: Kernel[]): Promise<void> {
    const started = kernels
      .filter(({ name }) => !this.#compiled.has(name))
      .map(async (kernel) => {
        const { layout, descriptor } = this.#pipelineDescriptor(kernel);
        try {
          const pipeline = await this.device.createComputePipelineAsync(descriptor);
          this.#compiled.set(kernel.name, { pipeline, layout, verdict: Promise.resolve(undefined) });
        } catch (error) {
          this.assertAlive();
          throw refusedKernel(kernel.name, error instanceof Error ? error.message : String(error));
        }
      });
    const failed = (await Promise.allSettled(started)).find((result) => result.status === "rejected");
    if (failed) throw failed.reason;
  }

  /** @internal A recipe, with the sources of its kernels where one of them is new. */
  plan(descriptor: string, operation: string, args: unknown): PlannedRecipe {
    const buffers: GPUBuffer[] = [];
    const text = describe(args, buffers);
    const recipe = this.ask(descriptor, operation, text) as ByName;
    const known = recipe.kernels.every((name) => this.#compiled.has(name));
    const kernels = known ? recipe.kernels : (this.ask(descriptor, operation, text, true) as Recipe).kernels;
    return { recipe, kernels, buffers: recipe.buffers.map(({ name }) => buffers[Number(name)] as GPUBuffer) };
  }

  #compile(kernel: Kernel | string): Compiled {
    const name = typeof kernel === "string" ? kernel : kernel.name;
    const known = this.#compiled.get(name);
    if (known || typeof kernel === "string") return known as Compiled;
    const [[pipeline, layout], refused] = this.scoped(() => {
      const { layout, descriptor } = this.#pipelineDescriptor(kernel);
      return [this.device.createComputePipeline(descriptor), layout] as const;
    });
    const verdict = refused.then((message) => (message ? refusedKernel(name, message) : undefined));
    const compiled = { pipeline, layout, verdict };
    this.#compiled.set(name, compiled);
    return compiled;
  }

  #pipelineDescriptor(kernel: Kernel): { layout: GPUBindGroupLayout; descriptor: GPUComputePipelineDescriptor } {
    const { device } = this;
    const label = `${this.label} ${kernel.name}`;
    const module = device.createShaderModule({ label, code: moduleSource(kernel) });
    const entry = (binding: number, type: GPUBufferBindingType) => ({ binding, visibility: COMPUTE, buffer: { type } });
    const storage = kernel.bindings.map(({ binding, access }) =>
      entry(binding, access === "read" ? "read-only-storage" : "storage"),
    );
    const layout = device.createBindGroupLayout({ label, entries: [entry(0, "uniform"), ...storage] });
    const compute = { module, entryPoint: kernel.entry_point, constants: kernel.constants };
    const descriptor = { label, layout: device.createPipelineLayout({ label, bindGroupLayouts: [layout] }), compute };
    return { layout, descriptor };
  }

  /** Parameters of all dispatches in one buffer that never changes, and a bind group each. */
  #steps(label: string, { recipe, buffers }: PlannedRecipe, compiled: Compiled[], own: GPUBuffer[]): Step[] {
    if (recipe.dispatches.length === 0) return [];
    const align = this.device.limits.minUniformBufferOffsetAlignment;
    const blocks = recipe.dispatches.map(({ parameters }) => bytesOf(parameters));
    let size = 0;
    const offsets = blocks.map((block) => {
      const offset = Math.ceil(size / align) * align;
      size = offset + block.length;
      return offset;
    });
    const descriptor = { label, size, usage: UNIFORM, mappedAtCreation: true };
    const uniforms = this.device.createBuffer(descriptor);
    own.push(uniforms);
    const mapped = new Uint8Array(uniforms.getMappedRange());
    blocks.forEach((block, i) => mapped.set(block, offsets[i]));
    uniforms.unmap();
    return recipe.dispatches.map((dispatch, i) => {
      const { pipeline, layout } = compiled[dispatch.kernel] as Compiled;
      const parameters = { buffer: uniforms, offset: offsets[i] as number, size: (blocks[i] as Uint8Array).length };
      const storage = dispatch.bindings.map(({ binding, buffer, offset, size }) => ({
        binding,
        resource: { buffer: buffers[buffer] as GPUBuffer, offset, size },
      }));
      const entries = [{ binding: 0, resource: parameters }, ...storage];
      const bindGroup = this.device.createBindGroup({ label, layout, entries });
      return { pipeline, bindGroup, workgroups: dispatch.workgroups };
    });
  }

  /** @internal What `make` makes, and later what the device says against it, or nothing. */
  scoped<T>(make: () => T): [T, Promise<string>] {
    const { device } = this;
    device.pushErrorScope("out-of-memory");
    device.pushErrorScope("validation");
    let errors: Promise<GPUError | null>[] = [];
    let made: T;
    try {
      made = make();
    } finally {
      errors = [device.popErrorScope(), device.popErrorScope()];
    }
    const message = Promise.all(errors).then((found) => found.find((error) => error)?.message ?? "", String);
    return [made, message];
  }
}

/** @internal A recipe and the buffers that it names, in order; kernels by name where they are compiled. */
export interface PlannedRecipe {
  recipe: ByName;
  kernels: (Kernel | string)[];
  buffers: GPUBuffer[];
}
