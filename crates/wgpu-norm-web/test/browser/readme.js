// The lines of the README, as they stand there.
import { download } from "./gpu.js";

export async function run() {
  const { device, input, output, scale, bias, layer } = await import("/readme.js");
  const failures = [];
  const x = Float32Array.from({ length: 64 * 1000 }, (_, i) => 100 + Math.sin(i));
  device.queue.writeBuffer(input, 0, x);
  device.queue.writeBuffer(scale, 0, new Float32Array(1000).fill(2));
  device.queue.writeBuffer(bias, 0, new Float32Array(1000).fill(1));
  const encoder = device.createCommandEncoder();
  const pass = encoder.beginComputePass();
  layer.record(pass);
  pass.end();
  device.queue.submit([encoder.finish()]);
  const y = new Float32Array((await download(device, [output]))[0]);
  for (let row = 0; row < 64; row++) {
    const own = Array.from(x.subarray(1000 * row, 1000 * (row + 1)));
    const mean = own.reduce((sum, v) => sum + v) / 1000;
    const variance = own.reduce((sum, v) => sum + (v - mean) ** 2, 0) / 1000;
    const error = own.map((v, i) => Math.abs(((v - mean) / Math.sqrt(variance + 1e-5)) * 2 + 1 - y[1000 * row + i]));
    if (!(Math.max(...error) < 1e-5)) failures.push(`row ${row} is off by ${Math.max(...error)}`);
  }
  return { count: 64, failures };
}
