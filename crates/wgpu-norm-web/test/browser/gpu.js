// Buffers of numbers of a type, up and down.

export const BYTES = { f32: 4, f16: 2, bf16: 2 };
const USAGE = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;

/** A device of the browser's adapter, with subgroups where it has them and `subgroups` is not false. */
export async function openDevice({ subgroups = true } = {}) {
  const adapter = await navigator.gpu?.requestAdapter();
  if (!adapter) throw new Error("no adapter");
  return adapter.requestDevice({
    requiredFeatures: subgroups && adapter.features.has("subgroups") ? ["subgroups"] : [],
  });
}

/** A buffer of so many bytes, filled with NaN: nothing that a kernel may rely on. */
export function emptyBuffer(device, bytes) {
  const size = Math.max(4, Math.ceil(bytes / 4) * 4);
  const buffer = device.createBuffer({ size, usage: USAGE, mappedAtCreation: true });
  new Uint8Array(buffer.getMappedRange()).fill(0xff);
  buffer.unmap();
  return buffer;
}

/** A buffer with these bytes at its beginning. */
export function upload(device, bytes) {
  const buffer = emptyBuffer(device, bytes.byteLength);
  const whole = new Uint8Array(Math.ceil(bytes.byteLength / 4) * 4);
  whole.set(new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength));
  device.queue.writeBuffer(buffer, 0, whole);
  return buffer;
}

/** Records bindings into one pass and submits it. */
export function run(device, bindings) {
  const encoder = device.createCommandEncoder();
  const pass = encoder.beginComputePass();
  bindings.forEach((bound) => bound.record(pass));
  pass.end();
  device.queue.submit([encoder.finish()]);
}

/** The bytes of buffers. */
export async function download(device, buffers) {
  const encoder = device.createCommandEncoder();
  const copies = buffers.map((buffer) => {
    const copy = device.createBuffer({ size: buffer.size, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST });
    encoder.copyBufferToBuffer(buffer, 0, copy, 0, buffer.size);
    return copy;
  });
  device.queue.submit([encoder.finish()]);
  await Promise.all(copies.map((copy) => copy.mapAsync(GPUMapMode.READ)));
  return copies.map((copy) => {
    const bytes = copy.getMappedRange().slice(0);
    copy.destroy();
    return bytes;
  });
}

/** Numbers from bytes of a type. */
export function decode(bytes, type) {
  switch (type) {
    case "f64":
      return new Float64Array(bytes);
    case "f32":
      return Float64Array.from(new Float32Array(bytes));
    case "i64":
      return Float64Array.from(new BigInt64Array(bytes), Number);
    case "u32":
      return Float64Array.from(new Uint32Array(bytes));
    case "bf16":
      return Float64Array.from(new Float32Array(Uint32Array.from(new Uint16Array(bytes), (half) => half << 16).buffer));
    case "f16":
      return Float64Array.from(new Uint16Array(bytes), numberOfHalf);
    default:
      throw new Error(`numbers of type ${type}`);
  }
}

function numberOfHalf(half) {
  const sign = half & 0x8000 ? -1 : 1,
    exponent = (half >> 10) & 31,
    mantissa = half & 1023;
  if (exponent === 31) return mantissa ? NaN : sign * Infinity;
  return sign * (exponent ? 2 ** (exponent - 15) * (1 + mantissa / 1024) : 2 ** -24 * mantissa);
}
