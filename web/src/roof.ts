// The roofs: the program's kernels that only move memory (roof.wgsl), bound to the buffers of a case.

import { tensor } from "./buffers.js";
import { type Budget, type Clock, type Record, inTurn } from "./clock.js";

export type RoofName = "copy" | "triad";
/** Tensors that a roof moves. */
export const TENSORS: { readonly [name in RoofName]: number } = { copy: 2, triad: 3 };
/** Workgroups to choose from: a roof must not be understated. */
const WORKGROUP_SIZES = [64, 256] as const;
/** Bytes of what an invocation moves. */
const QUAD = 16;

interface Kernel {
  readonly pipeline: GPUComputePipeline;
  readonly workgroupSize: number;
}

/** Both kernels, each with the workgroups that are fastest here. */
export class Roofs {
  private constructor(
    private readonly device: GPUDevice,
    private readonly kernels: { [name in RoofName]: Kernel },
  ) {}

  static async create(device: GPUDevice, clock: Clock, budget: Budget, signal: AbortSignal): Promise<Roofs> {
    const response = await fetch("roof.wgsl");
    if (!response.ok) throw new Error(`roof.wgsl: ${response.status} ${response.statusText}`);
    const module = device.createShaderModule({ code: await response.text() });
    const kernels: Partial<{ [name in RoofName]: Kernel }> = {};
    const size = Math.min(32 << 20, device.limits.maxStorageBufferBindingSize, device.limits.maxBufferSize);
    const buffers = [0, 1, 2].map(() => tensor(device, size));
    try {
      for (const name of ["copy", "triad"] as const) {
        const made = await Promise.all(WORKGROUP_SIZES.map((size) => compile(device, module, name, size)));
        const [a, b, c] = buffers;
        const records = made.map((kernel) => bind(device, kernel, name, [a!, b!, c!]));
        const contestants = records.map((record) => ({ run: (count: number) => clock.time(record, count) }));
        const times = await inTurn(contestants, { ...budget, total: budget.total / 5, warmUp: 0 }, signal);
        const [small, large] = times.map((time) => time?.median ?? Infinity);
        kernels[name] = small! < large! ? made[0]! : made[1]!;
      }
    } finally {
      buffers.forEach((buffer) => buffer.destroy());
    }
    return new Roofs(device, kernels as { [name in RoofName]: Kernel });
  }

  /** Binds one to whole buffers of the same size. */
  bind(name: RoofName, buffers: readonly [GPUBuffer, GPUBuffer, GPUBuffer]): Record {
    return bind(this.device, this.kernels[name], name, buffers);
  }
}

async function compile(
  device: GPUDevice,
  module: GPUShaderModule,
  entryPoint: RoofName,
  workgroupSize: number,
): Promise<Kernel> {
  const compute = { module, entryPoint, constants: { workgroup_size: workgroupSize } };
  return { pipeline: await device.createComputePipelineAsync({ layout: "auto", compute }), workgroupSize };
}

function bind(
  device: GPUDevice,
  kernel: Kernel,
  name: RoofName,
  [a, b, c]: readonly [GPUBuffer, GPUBuffer, GPUBuffer],
): Record {
  const { pipeline, workgroupSize } = kernel;
  const buffers = name === "copy" ? [a, null, c] : [a, b, c];
  const entries = buffers.flatMap((buffer, binding) => (buffer ? [{ binding, resource: { buffer } }] : []));
  const group = device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries });
  const count = Math.max(1, Math.ceil(a.size / QUAD / workgroupSize));
  // as square as the limit on one dimension asks for
  const most = device.limits.maxComputeWorkgroupsPerDimension;
  const x = count <= most ? count : Math.ceil(Math.sqrt(count));
  const y = Math.ceil(count / x);
  return (pass) => {
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, group);
    pass.dispatchWorkgroups(x, y);
  };
}
