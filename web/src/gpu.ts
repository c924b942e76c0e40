// The device, opened anew after it was lost.

import { NormEngine } from "wgpu-norm";

import { download, tensor } from "./buffers.js";

/** WebGPU is not there: the page says what helps. */
export class MissingWebGpu extends Error {
  constructor(
    message: string,
    readonly ways: readonly string[],
  ) {
    super(message);
  }
}

const BROWSERS = [
  "Chrome or Edge 113 and later has it on Windows, macOS and Android; on Linux it is turned on at " +
    "chrome://flags/#enable-unsafe-webgpu.",
  "Safari 26 and later has it on macOS, iOS and iPadOS.",
  "Firefox 141 and later has it on Windows, 145 on macOS; elsewhere dom.webgpu.enabled in about:config turns it on.",
];
const BLOCKED = [
  "The graphics card or its driver may be on the browser's list of those that it does not trust: update the driver.",
  "Chrome: chrome://flags/#enable-unsafe-webgpu, and chrome://gpu says what is wrong. Firefox: " +
    "gfx.webgpu.ignore-blocklist in about:config.",
];

/** A device and what is known of it. */
export interface Opened {
  readonly adapter: GPUAdapter;
  readonly info: GPUAdapterInfo;
  readonly device: GPUDevice;
  readonly engine: NormEngine;
  /** A processor that plays GPU. */
  readonly isSoftware: boolean;
  readonly name: string;
  /** From asking for the adapter to the first result of a norm in memory. */
  readonly coldStartMs: number;
}

/** Opens a device, or says why there is none. */
export async function open(preference: GPUPowerPreference): Promise<Opened> {
  const start = performance.now();
  if (!navigator.gpu) {
    if (!isSecureContext) {
      throw new MissingWebGpu("Browsers offer WebGPU only to pages from https:// or from localhost.", [
        "Open this page as http://localhost, or serve it by https.",
      ]);
    }
    throw new MissingWebGpu("This browser has no WebGPU, or has it turned off.", BROWSERS);
  }
  const adapter = await navigator.gpu.requestAdapter({ powerPreference: preference });
  if (!adapter) throw new MissingWebGpu("This browser has WebGPU, but no adapter for it.", BLOCKED);
  const device = await adapter.requestDevice({
    requiredFeatures: wanted(adapter),
    requiredLimits: largest(adapter.limits),
  });
  const engine = await NormEngine.create(device);
  const info = adapter.info;
  const opened = { adapter, info, device, engine, isSoftware: isSoftware(info), name: nameOf(info) };
  await firstResult(device, engine);
  return { ...opened, coldStartMs: performance.now() - start };
}

/** What kernels and clocks make use of. */
function wanted(adapter: GPUAdapter): GPUFeatureName[] {
  const names = ["timestamp-query", "subgroups"] as GPUFeatureName[];
  return names.filter((name) => adapter.features.has(name));
}

function largest(limits: GPUSupportedLimits): Record<string, number> {
  const names = [
    "maxBufferSize",
    "maxStorageBufferBindingSize",
    "maxStorageBuffersPerShaderStage",
    "maxComputeWorkgroupStorageSize",
    "maxComputeInvocationsPerWorkgroup",
    "maxComputeWorkgroupSizeX",
  ] as const;
  return Object.fromEntries(names.map((name) => [name, limits[name]]));
}

function isSoftware(info: GPUAdapterInfo): boolean {
  const words = [info.vendor, info.architecture, info.device, info.description].join(" ").toLowerCase();
  return info.isFallbackAdapter || /swiftshader|llvmpipe|lavapipe|software|microsoft basic/.test(words);
}

function nameOf(info: GPUAdapterInfo): string {
  const words = [info.vendor, info.architecture, info.device].filter((word) => word !== "");
  return info.description || words.join(" ") || "an adapter that this browser does not name";
}

/** A small norm, computed and read: the device works. */
async function firstResult(device: GPUDevice, engine: NormEngine): Promise<void> {
  const shape = [16, 64];
  const norm = engine.norm({ kind: "layer", shape, axes: [1], affine: "none" });
  const input = tensor(
    device,
    Float32Array.from({ length: 16 * 64 }, (_, i) => i % 7),
  );
  const output = tensor(device, input.size);
  try {
    const bound = norm.bindForward({ input, output });
    await bound.ready;
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    bound.record(pass);
    pass.end();
    device.queue.submit([encoder.finish()]);
    const [bytes] = await download(device, [{ buffer: output, size: output.size }]);
    const values = new Float32Array(bytes!.buffer);
    if (!values.every(Number.isFinite)) throw new Error("the first norm gave no numbers: the adapter does not compute");
  } finally {
    [input, output].forEach((buffer) => buffer.destroy());
  }
}
