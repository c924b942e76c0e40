// A device that is lost: typed errors on every way in, and a new device with a new engine works.
import { NormEngine, NormError } from "/dist/index.js";
import { download, emptyBuffer, openDevice, run as submit, upload } from "./gpu.js";

export async function run() {
  const failures = [];
  let count = 0;
  const check = (what, holds) => {
    count++;
    if (!holds) failures.push(what);
  };
  const code = async (make) => {
    try {
      await make();
    } catch (error) {
      return error instanceof NormError ? error.code : `${error}`;
    }
    return "none";
  };
  const descriptor = { kind: "rms", shape: [8, 100], normalizedShape: [100], affine: "none" };
  const values = Float32Array.from({ length: 800 }, (_, i) => 1 + (i % 7));
  const once = async () => {
    const device = await openDevice();
    const engine = await NormEngine.create(device);
    const norm = engine.norm(descriptor);
    const args = { input: upload(device, values), output: emptyBuffer(device, 3200) };
    await norm.warmUp("forward", args);
    const compiled = engine.compiledKernels;
    const bound = norm.bindForward(args);
    check("warmed up", compiled > 0 && engine.compiledKernels === compiled);
    submit(device, [bound]);
    const [bytes] = await download(device, [args.output]);
    const row = values.slice(0, 100),
      rms = Math.sqrt(row.reduce((sum, x) => sum + x * x, 0) / 100);
    check("a result", Math.abs(new Float32Array(bytes)[0] - row[0] / rms) < 1e-6);
    return { device, engine, norm, args, bound };
  };
  const first = await once();
  first.device.destroy();
  await first.device.lost;
  check("planning", (await code(() => first.engine.norm(descriptor))) === "BindError::Device");
  check("binding", (await code(() => first.norm.bindForward(first.args))) === "BindError::Device");
  check("warming up", (await code(() => first.norm.warmUp("forward", first.args))) === "BindError::Device");
  check("asking", (await code(() => first.bound.check())) === "BindError::Device");
  check("recording", (await code(() => first.bound.record({}))) === "BindError::Device");
  check("a new engine on it", (await code(() => NormEngine.create(first.device))) === "BindError::Device");
  first.engine.destroy();
  const second = await once();
  // lost while something is under way: what was recorded goes nowhere, and says so
  const pending = second.bound.check();
  second.device.destroy();
  const outcome = await code(() => pending);
  check(`lost on the way: ${outcome}`, outcome === "BindError::Device" || outcome === "none");
  await once();
  return { count, failures };
}
