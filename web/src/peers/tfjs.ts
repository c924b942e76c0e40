// TensorFlow.js with its WebGPU backend, on our device: its own batch norm, the others composed as its layers do.

import * as tf from "@tensorflow/tfjs-core";
import { WebGPUBackend } from "@tensorflow/tfjs-backend-webgpu";

import { type BenchCase, isGiven } from "../cases.js";
import type { Opened } from "../gpu.js";
import { type Inputs, type Peer, type Prepared, Unsupported, timed } from "./peer.js";

/** Its kernels are registered for this name. */
const BACKEND = "webgpu";

/** What the backend has recorded and not submitted: its pass has to be ended first. */
interface Recording {
  readonly commandEncoder: GPUCommandEncoder | null;
  endComputePassEncoder(): void;
  submitQueue(): void;
}

class TensorFlow implements Peer {
  readonly name = `TensorFlow.js ${tf.version_core}`;
  private readonly backend: WebGPUBackend;
  private tensors: tf.Tensor[] = [];

  private constructor(
    private readonly device: GPUDevice,
    backend: WebGPUBackend,
  ) {
    this.backend = backend;
  }

  static async create(device: GPUDevice, info: GPUAdapterInfo): Promise<TensorFlow> {
    const backend = new WebGPUBackend(device, info);
    // its own, which would open a device, or that of a device before
    if (tf.findBackendFactory(BACKEND)) tf.removeBackend(BACKEND);
    tf.registerBackend(BACKEND, () => backend);
    await tf.setBackend(BACKEND);
    return new TensorFlow(device, backend);
  }

  async prepare(entry: BenchCase, { buffers, numbers }: Inputs): Promise<Prepared> {
    const { shape, format, pass } = entry.case;
    if (pass !== "forward") throw new Unsupported("measured in inference only");
    if (entry.case.variant === "batch" && !isGiven(entry)) throw new Unsupported("inference only");
    const memory = format === "channels-last" ? [shape[0]!, ...shape.slice(2), shape[1]!] : [...shape];
    const keep = <T extends tf.Tensor>(tensor: T): T => (this.tensors.push(tensor), tensor);
    const inputs = buffers.map(() => keep(tf.tensor(numbers("input")!, memory)));
    const compute = computation(entry, memory, (name, dims) => keep(tf.tensor(numbers(name)!, dims)));
    const { device, backend } = this;
    const run = (turn: number) => tf.tidy(() => compute(inputs[turn % inputs.length]!));
    const contestant = timed(device, (turn) => {
      const output = run(turn);
      // every few operations it does so by itself
      const recording = backend as unknown as Recording;
      if (recording.commandEncoder) {
        recording.endComputePassEncoder();
        recording.submitQueue();
      }
      output.dispose();
    });
    const result = async () => {
      const output = run(0);
      const values = await output.data<"float32">();
      output.dispose();
      return values;
    };
    return { ...contestant, result };
  }

  release(): void {
    this.tensors.forEach((tensor) => tensor.dispose());
    this.tensors = [];
  }

  destroy(): void {
    this.release();
    // the device is not the backend's: it would destroy it
  }
}

/** A case as its layers compute it. */
function computation(
  entry: BenchCase,
  memory: number[],
  parameter: (name: string, dims: number[]) => tf.Tensor,
): (x: tf.Tensor) => tf.Tensor {
  const { variant, shape, format, groups, eps } = entry.case;
  const channels = shape[1]!;
  const isLast = format === "channels-last";
  const along = isLast || format === "rows" ? [channels] : [channels, ...shape.slice(2).map(() => 1)];
  const scale = parameter("scale", along);
  const affine = (x: tf.Tensor) => tf.add(tf.mul(x, scale), parameterBias());
  let bias: tf.Tensor | null = null;
  const parameterBias = () => (bias ??= parameter("bias", along));
  if (variant !== "rms") parameterBias();
  const normalized = (x: tf.Tensor, axes: number[]) => {
    const { mean, variance } = tf.moments(x, axes, true);
    return tf.mul(tf.sub(x, mean), tf.rsqrt(tf.add(variance, eps)));
  };
  const spatial = memory
    .map((_, axis) => axis)
    .filter((axis) => axis !== 0 && axis !== (isLast ? memory.length - 1 : 1));
  switch (variant) {
    case "layer":
      return (x) => affine(normalized(x, [1]));
    case "rms":
      return (x) => tf.mul(tf.mul(x, tf.rsqrt(tf.add(tf.mean(tf.square(x), 1, true), eps))), scale);
    case "instance":
      return (x) => affine(normalized(x, spatial));
    case "batch": {
      const [mean, variance] = [parameter("mean", along), parameter("variance", along)];
      // its kernel takes channels last
      if (isLast && memory.length === 4)
        return (x) =>
          tf.batchNorm4d(x as tf.Tensor4D, flat(mean), flat(variance), flat(parameterBias()), flat(scale), eps);
      return (x) => affine(tf.mul(tf.sub(x, mean), tf.rsqrt(tf.add(variance, eps))));
    }
    case "group": {
      const count = groups ?? 1;
      const inside = channels / count;
      const split = isLast ? [...memory.slice(0, -1), count, inside] : [memory[0]!, count, inside, ...memory.slice(2)];
      const axes = isLast ? [...spatial, memory.length] : split.map((_, axis) => axis).slice(2);
      return (x) => affine(tf.reshape(normalized(tf.reshape(x, split), axes), memory));
    }
  }
}

function flat(tensor: tf.Tensor): tf.Tensor1D {
  return tensor as tf.Tensor1D;
}

export const make = ({ device, info }: Opened): Promise<Peer> => TensorFlow.create(device, info);
