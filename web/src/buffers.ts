// Tensors in and out of the device.

const USAGE = 0x80 | 0x8 | 0x4; // STORAGE | COPY_DST | COPY_SRC

/** Bytes of a buffer: buffers have whole words. */
export function wordsFor(bytes: number): number {
  return Math.max(4, Math.ceil(bytes / 4) * 4);
}

/** A storage buffer with numbers, or of so many bytes. */
export function tensor(device: GPUDevice, content: Float32Array | Uint8Array | number): GPUBuffer {
  if (typeof content === "number") return device.createBuffer({ size: wordsFor(content), usage: USAGE });
  const size = wordsFor(content.byteLength);
  const buffer = device.createBuffer({ size, usage: USAGE, mappedAtCreation: true });
  new Uint8Array(buffer.getMappedRange()).set(new Uint8Array(content.buffer, content.byteOffset, content.byteLength));
  buffer.unmap();
  return buffer;
}

/** The first bytes of some buffers, by one copy and one wait. */
export async function download(
  device: GPUDevice,
  parts: readonly { buffer: GPUBuffer; size: number }[],
): Promise<Uint8Array[]> {
  const offsets: number[] = [];
  const total = parts.reduce((sum, part) => (offsets.push(sum), sum + wordsFor(part.size)), 0);
  const staging = device.createBuffer({ size: Math.max(total, 4), usage: 0x1 | 0x8 }); // MAP_READ | COPY_DST
  try {
    const encoder = device.createCommandEncoder();
    parts.forEach(({ buffer, size }, i) => encoder.copyBufferToBuffer(buffer, 0, staging, offsets[i]!, wordsFor(size)));
    device.queue.submit([encoder.finish()]);
    await staging.mapAsync(1); // READ
    const bytes = new Uint8Array(staging.getMappedRange());
    return parts.map(({ size }, i) => bytes.slice(offsets[i]!, offsets[i]! + size));
  } finally {
    staging.destroy();
  }
}

/** Runs what makes things on the device; its own errors come out as exceptions. */
export async function checked<T>(device: GPUDevice, work: () => T | Promise<T>): Promise<T> {
  const scopes = ["out-of-memory", "validation"] as const;
  scopes.forEach((scope) => device.pushErrorScope(scope));
  let result: T;
  let errors: (GPUError | null)[];
  try {
    result = await work();
  } finally {
    errors = await Promise.all(scopes.map(() => device.popErrorScope()));
  }
  const error = errors.find((error) => error !== null);
  if (error) throw new Error(error.message);
  return result;
}
