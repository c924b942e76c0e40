// ONNX Runtime Web with its WebGPU provider, on our device: inference, channels first.

import * as ort from "onnxruntime-web";

import { download } from "../buffers.js";
import type { BenchCase } from "../cases.js";
import { elementsOf, isGiven } from "../cases.js";
import type { Opened } from "../gpu.js";
import { type Constant, type Node, model } from "./onnx.js";
import { type Inputs, type Peer, type Prepared, Unsupported, timed } from "./peer.js";

type Constants = { [name: string]: { values: Constant; dims: readonly number[] } };

class OnnxRuntime implements Peer {
  readonly name = `onnxruntime-web ${ort.env.versions.web}`;
  private session: ort.InferenceSession | null = null;
  private outputs: GPUBuffer[] = [];

  constructor(private readonly device: GPUDevice) {
    ort.env.wasm.wasmPaths = new URL("./onnxruntime/", import.meta.url).href;
    ort.env.wasm.numThreads = 1;
    ort.env.logLevel = "error";
  }

  async prepare(entry: BenchCase, { buffers, numbers }: Inputs): Promise<Prepared> {
    const { shape, format, pass } = entry.case;
    if (format === "channels-last") throw new Unsupported("ONNX's operators take channels first only");
    if (pass !== "forward") throw new Unsupported("ONNX Runtime Web computes inference only");
    if (entry.case.variant === "batch" && !isGiven(entry)) throw new Unsupported("inference only");
    const { device } = this;
    const constants: Constants = {};
    const nodes = nodesOf(entry, constants, numbers);
    const bytes = model(nodes, { x: shape }, { y: shape }, constants);
    // the device may be set until the first session is made
    const session = await ort.InferenceSession.create(bytes, {
      executionProviders: [
        { name: "webgpu", device, preferredLayout: "NCHW" } as ort.InferenceSession.WebGpuExecutionProviderOption,
      ],
      logSeverityLevel: 3,
      extra: { session: { disable_cpu_ep_fallback: "1" } },
    });
    this.session = session;
    const size = Math.ceil((4 * elementsOf(entry)) / 16) * 16;
    const output = device.createBuffer({ size, usage: 0x80 | 0x8 | 0x4 });
    this.outputs = [output];
    const onDevice = (buffer: GPUBuffer) => ort.Tensor.fromGpuBuffer(buffer, { dataType: "float32", dims: [...shape] });
    const inputs = buffers.map(onDevice);
    const fetches = { y: onDevice(output) };
    const run = (turn: number) => session.run({ x: inputs[turn % inputs.length]! }, fetches);
    const contestant = timed(device, async (turn) => {
      await run(turn);
    });
    const result = async () => {
      await run(0);
      const [bytes] = await download(device, [{ buffer: output, size: 4 * elementsOf(entry) }]);
      return new Float32Array(bytes!.buffer);
    };
    return { ...contestant, result };
  }

  release(): void {
    void this.session?.release();
    this.session = null;
    this.outputs.forEach((buffer) => buffer.destroy());
    this.outputs = [];
  }

  destroy(): void {
    this.release();
  }
}

/** The operators of a case over x and its parameters, to y; adds what they need to the constants. */
function nodesOf(entry: BenchCase, constants: Constants, numbers: Inputs["numbers"]): Node[] {
  const { variant, shape, groups, eps } = entry.case;
  const epsilon = { epsilon: { float: eps } };
  const parameter = (name: string, dims: readonly number[] = [shape[1]!]) => {
    constants[name] = { values: numbers(name)!, dims };
    return name;
  };
  const one = (operator: string, names: string[], attributes = {}): Node[] => {
    return [
      {
        operator,
        inputs: ["x", ...names.map((name) => parameter(name))],
        outputs: ["y"],
        attributes: { ...epsilon, ...attributes },
      },
    ];
  };
  switch (variant) {
    case "layer":
      return one("LayerNormalization", ["scale", "bias"], { axis: { int: 1 } });
    case "rms":
      return one("SimplifiedLayerNormalization", ["scale"], { axis: { int: 1 } });
    case "batch":
      return one("BatchNormalization", ["scale", "bias", "mean", "variance"]);
    case "instance":
      return one("InstanceNormalization", ["scale", "bias"]);
    case "group": {
      // as PyTorch exports it; GroupNormalization itself would be taken apart into operators of the CPU
      const count = groups ?? 1;
      const along = [shape[1]!, ...shape.slice(2).map(() => 1)];
      const whole = (values: readonly number[]) => ({
        values: BigInt64Array.from(values, BigInt),
        dims: [values.length],
      });
      constants["ones"] = { values: new Float32Array(count).fill(1), dims: [count] };
      constants["zeros"] = { values: new Float32Array(count), dims: [count] };
      constants["split"] = { values: BigInt64Array.of(0n, BigInt(count), -1n), dims: [3] };
      constants["joined"] = whole(shape);
      return [
        { operator: "Reshape", inputs: ["x", "split"], outputs: ["groups"] },
        {
          operator: "InstanceNormalization",
          inputs: ["groups", "ones", "zeros"],
          outputs: ["normalized"],
          attributes: epsilon,
        },
        { operator: "Reshape", inputs: ["normalized", "joined"], outputs: ["planes"] },
        { operator: "Mul", inputs: ["planes", parameter("scale", along)], outputs: ["scaled"] },
        { operator: "Add", inputs: ["scaled", parameter("bias", along)], outputs: ["y"] },
      ];
    }
  }
}

export const make = ({ device }: Opened): Peer => new OnnxRuntime(device);
