import { wrongType } from "./error.js";

/** How an engine sees its device. */
export interface DeviceOptions {
  /** Whether schedules are made for hardware or for a driver on a processor; by default what the adapter says it is. */
  kind?: "gpu" | "software";
  /** `false`: kernels do without subgroup operations, though the device has the feature. */
  subgroups?: boolean;
}

/** What a browser may say of an adapter. */
type AdapterInfo = Partial<GPUAdapterInfo> & { subgroupMinSize?: number; isFallbackAdapter?: boolean };

/** The facts that planning needs of a device, as JSON: its limits, its subgroups, whether it is hardware. */
export function factsOf(device: GPUDevice, options: DeviceOptions): string {
  const { limits } = device;
  const info: AdapterInfo = device.adapterInfo ?? {};
  const words = `${info.vendor} ${info.architecture} ${info.device} ${info.description}`.toLowerCase();
  const software = info.isFallbackAdapter === true || /swiftshader|llvmpipe|lavapipe|basic render/.test(words);
  const { kind = software ? "software" : "gpu", subgroups = true } = options;
  if (typeof subgroups !== "boolean") throw wrongType("subgroups", String(subgroups), "true or false");
  const smallest = subgroups && device.features.has("subgroups") ? (info.subgroupMinSize ?? 1) : 1;
  return JSON.stringify({
    kind,
    minSubgroup: 2 ** Math.floor(Math.log2(Math.min(Math.max(smallest, 1), 64))),
    maxWorkgroupSize: Math.min(limits.maxComputeInvocationsPerWorkgroup, limits.maxComputeWorkgroupSizeX),
    maxWorkgroupMemory: limits.maxComputeWorkgroupStorageSize,
    maxWorkgroupCount: limits.maxComputeWorkgroupsPerDimension,
    maxStorageBuffers: limits.maxStorageBuffersPerShaderStage,
    maxBinding: limits.maxStorageBufferBindingSize,
    storageAlign: limits.minStorageBufferOffsetAlignment,
    uniformAlign: limits.minUniformBufferOffsetAlignment,
  });
}
