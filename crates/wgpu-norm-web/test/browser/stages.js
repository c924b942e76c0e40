// Batch norm of two shards in one buffer, stage by stage, beside the norm of the whole; and moments as plain numbers.
import { NormEngine } from "/dist/index.js";
import { download, emptyBuffer, openDevice, run as submit, upload } from "./gpu.js";

export async function run() {
  const device = await openDevice();
  const engine = await NormEngine.create(device);
  const descriptor = (samples) => ({ kind: "batch", shape: [samples, 3, 8], affine: "scale" });
  const whole = engine.norm(descriptor(4)),
    shard = engine.norm(descriptor(2));
  const values = (scale, shift) => Float32Array.from({ length: 96 }, (_, i) => shift + scale * Math.sin(i * i));
  const x = values(2, 5);
  const input = upload(device, x),
    gradOutput = upload(device, values(1, 0));
  const scale = upload(device, Float32Array.of(1, 2, 3));
  const room = (bytes) => emptyBuffer(device, bytes);

  const expected = { output: room(384), gradInput: room(384), gradScale: room(12), saved: room(48) };
  const { saved } = expected;
  const [mean, rstd] = [room(12), room(12)];
  submit(device, [
    whole.bindTraining({ input, output: expected.output, saved, scale }),
    whole.bindBackward({
      input,
      gradOutput,
      statistics: { saved },
      scale,
      gradInput: expected.gradInput,
      gradScale: expected.gradScale,
    }),
    whole.bindExport({ saved, mean, rstd }),
  ]);

  const ours = { output: room(384), gradInput: room(384) };
  const [records, merged, sums, mergedSums] = [room(96), room(48), room(96), room(48)];
  const gradScales = [room(12), room(12)];
  const halves = [0, 192];
  const at = (buffer, offset, bytes) => ({ buffer, offset: (offset * bytes) / 192 });
  const each = (bind) => halves.map(bind);
  submit(device, [
    ...each((offset) => shard.bindMoments({ input: { buffer: input, offset }, records: at(records, offset, 48) })),
    shard.bindMerge({ shards: records, count: 2, merged }),
    ...each((offset) =>
      shard.bindForward({
        input: { buffer: input, offset },
        output: { buffer: ours.output, offset },
        scale,
        statistics: { saved: merged },
      }),
    ),
    ...each((offset, i) =>
      shard.bindGradientSums({
        input: { buffer: input, offset },
        gradOutput: { buffer: gradOutput, offset },
        saved: merged,
        scale,
        sums: at(sums, offset, 48),
        gradScale: gradScales[i],
      }),
    ),
    shard.bindMerge({ shards: sums, count: 2, records: "gradient-sums", merged: mergedSums }),
    ...each((offset) =>
      shard.bindInputGradient({
        input: { buffer: input, offset },
        gradOutput: { buffer: gradOutput, offset },
        saved: merged,
        sums: mergedSums,
        scale,
        gradInput: { buffer: ours.gradInput, offset },
      }),
    ),
  ]);

  const buffers = [
    expected.output,
    ours.output,
    expected.gradInput,
    ours.gradInput,
    expected.gradScale,
    ...gradScales,
    mean,
    rstd,
  ];
  const read = (await download(device, buffers)).map((bytes) => new Float32Array(bytes));
  const failures = [];
  const compare = (what, actual, wanted) => {
    const error = Math.max(...Array.from(actual, (v, i) => Math.abs(v - wanted[i])));
    const size = Math.max(1, ...Array.from(wanted, Math.abs));
    if (!(error < 2e-6 * size)) failures.push(`${what} is off by ${error}`);
  };
  compare("output of shards", read[1], read[0]);
  compare("gradient of shards", read[3], read[2]);
  compare(
    "gradients to the scale",
    read[5].map((v, i) => v + read[6][i]),
    read[4],
  );
  for (const c of [0, 1, 2]) {
    const channel = Array.from(x).filter((_, i) => Math.floor(i / 8) % 3 === c);
    const average = channel.reduce((a, b) => a + b) / 32;
    const variance = channel.reduce((a, b) => a + (b - average) ** 2, 0) / 32;
    compare("mean", [read[7][c]], [average]);
    compare("rstd", [read[8][c]], [1 / Math.sqrt(variance + 1e-5)]);
  }
  device.destroy();
  return { count: 9, failures };
}
