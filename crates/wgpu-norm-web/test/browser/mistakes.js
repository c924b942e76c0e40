// Bad input: each mistake is a typed error with its words, before anything is recorded. Beside each stands what is
// right, so that nothing passes because all is refused.
import { NormEngine, NormError } from "/dist/index.js";
import { emptyBuffer, openDevice, run as submit } from "./gpu.js";

export async function run() {
  const device = await openDevice();
  const engine = await NormEngine.create(device);
  const failures = [];
  let count = 0;

  const expect = async (what, make, code, ...words) => {
    count++;
    try {
      await make();
    } catch (error) {
      const said =
        error instanceof NormError && error.code === code && words.every((word) => error.message.includes(word));
      if (!said)
        failures.push(`${what}: ${error.code ?? error.name}: ${error.message}, expected ${code} with ${words}`);
      return;
    }
    failures.push(`${what}: not refused, expected ${code}`);
  };
  const fine = async (what, make) => {
    count++;
    try {
      await make();
    } catch (error) {
      failures.push(`${what}: ${error.code ?? error.name}: ${error.message}`);
    }
  };

  const layer = { kind: "layer", shape: [4, 10], normalizedShape: [10] };
  const describe = (change) => () => engine.norm({ ...layer, ...change });
  await fine("a layer norm", describe({}));
  const descriptors = [
    ["no kind", { kind: undefined }, "ArgumentError::Missing", "descriptor.kind"],
    ["a misspelt kind", { kind: "layers" }, "ArgumentError::UnknownWord", "layers", "layer"],
    ["no shape", { shape: undefined }, "ArgumentError::Missing", "descriptor.shape"],
    [
      "a misspelt field",
      { normalisedShape: [10] },
      "ArgumentError::UnknownField",
      "normalisedShape",
      "normalizedShape",
    ],
    ["a field of another kind", { groups: 2 }, "ArgumentError::UnknownField", "groups"],
    ["NaN in the shape", { shape: [4, NaN] }, "ArgumentError::WrongType", "shape[1]", "NaN"],
    ["a fraction in the shape", { shape: [4, 10.5] }, "ArgumentError::WrongType", "shape[1]", "10.5"],
    ["a negative size", { shape: [4, -10] }, "ArgumentError::WrongType", "shape[1]", "-10"],
    ["a size beyond doubles", { shape: [4, 2 ** 60] }, "ArgumentError::WrongType", "shape[1]"],
    ["a text as a size", { shape: [4, "10"] }, "ArgumentError::WrongType", "shape[1]", "10"],
    ["a hole in the shape", { shape: [4, undefined] }, "ArgumentError::WrongType", "shape[1]", "missing"],
    ["a number as the shape", { shape: 40 }, "ArgumentError::WrongType", "shape", "40"],
    ["a shape that overflows", { shape: [2 ** 40, 2 ** 40], normalizedShape: [2 ** 40] }, "PlanError::ShapeOverflows"],
    ["nine axes", { shape: Array(9).fill(1), normalizedShape: [1] }, "PlanError::RankTooHigh", "9", "8"],
    ["another normalized shape", { normalizedShape: [9] }, "PlanError::NormalizedShape", "[9]", "[4, 10]"],
    ["both kinds of axes", { axes: [1] }, "ArgumentError::WrongType", "normalizedShape"],
    ["neither", { normalizedShape: undefined }, "ArgumentError::Missing", "normalizedShape"],
    [
      "axes with a gap",
      { normalizedShape: undefined, shape: [2, 2, 2], axes: [0, 2] },
      "ArgumentError::WrongType",
      "axes",
    ],
    ["an axis beyond", { normalizedShape: undefined, axes: [2] }, "PlanError::AxesOutOfRange", "2"],
    ["a negative eps", { eps: -1 }, "PlanError::Epsilon", "-1"],
    ["an eps of NaN", { eps: NaN }, "PlanError::Epsilon", "NaN"],
    ["an eps in two places", { eps: { insideRoot: 1, minimum: 1 } }, "ArgumentError::WrongType", "eps"],
    ["another type", { types: "f64" }, "ArgumentError::UnknownWord", "f64", "bf16"],
    ["a misspelt type", { types: { inputs: "f32" } }, "ArgumentError::UnknownField", "inputs", "input"],
    ["affine as a flag", { affine: false }, "ArgumentError::WrongType", "affine"],
    ["a misspelt fusion", { fusion: { prolog: {} } }, "ArgumentError::UnknownField", "prolog", "prologue"],
    ["a slope of infinity", { fusion: { epilogue: { activation: { leakyRelu: Infinity } } } }, "PlanError::NotFinite"],
    [
      "groups that do not divide",
      { kind: "group", groups: 3, normalizedShape: undefined },
      "PlanError::GroupsDoNotDivideChannels",
      "3",
      "10",
    ],
    ["no groups", { kind: "group", normalizedShape: undefined }, "ArgumentError::Missing", "groups"],
  ];
  for (const [what, change, code, ...words] of descriptors) await expect(what, describe(change), code, ...words);
  for (const [what, descriptor] of [
    ["nothing", undefined],
    ["null", null],
    ["a text", "layer"],
    ["a number", 5],
  ]) {
    await expect(
      `${what} as a descriptor`,
      () => engine.norm(descriptor),
      descriptor == null ? "ArgumentError::Missing" : "ArgumentError::WrongType",
      "descriptor",
    );
  }

  const norm = engine.norm(layer);
  const buffer = (bytes = 160) => emptyBuffer(device, bytes);
  const args = { input: buffer(), output: buffer(), scale: buffer(40), bias: buffer(40) };
  const bind = (change) => () => norm.bindForward({ ...args, ...change });
  await fine("a forward pass", async () => {
    const bound = bind({})();
    run(device, [bound]);
    await bound.check();
  });
  const uniform = device.createBuffer({ size: 160, usage: GPUBufferUsage.UNIFORM });
  const forward = [
    ["no input", { input: undefined }, "BindError::Missing", "input"],
    ["no output", { output: null }, "BindError::Missing", "output"],
    ["no scale", { scale: undefined }, "BindError::Missing", "scale"],
    ["a scale too much", { fused: { gate: args.scale } }, "BindError::Unexpected", "gate"],
    ["a misspelt field", { inputs: args.input }, "ArgumentError::UnknownField", "inputs", "input"],
    ["an array", { input: new Float32Array(40) }, "ArgumentError::WrongType", "input"],
    ["a number", { input: 5 }, "ArgumentError::WrongType", "input", "5"],
    ["a function", { input: () => args.input }, "ArgumentError::WrongType", "input", "function"],
    ["a promise", { input: Promise.resolve(args.input) }, "ArgumentError::Missing", "input.buffer"],
    [
      "a texture",
      { input: device.createTexture({ size: [4, 4], format: "rgba8unorm", usage: 4 }) },
      "ArgumentError::Missing",
      "input.buffer",
    ],
    ["a short input", { input: buffer(156) }, "BindError::OutOfBounds", "input", "160", "156"],
    ["a short scale", { scale: buffer(36) }, "BindError::OutOfBounds", "scale"],
    ["a wrong length", { input: { buffer: args.input, length: 39 } }, "BindError::Length", "39", "40"],
    ["an odd offset", { input: { buffer: buffer(200), offset: 3 } }, "BindError::Offset", "3", "4"],
    ["an offset beyond", { input: { buffer: args.input, offset: 4 } }, "BindError::OutOfBounds", "164", "160"],
    [
      "a fractional offset",
      { input: { buffer: args.input, offset: 0.5 } },
      "ArgumentError::WrongType",
      "offset",
      "0.5",
    ],
    ["an offset of NaN", { input: { buffer: args.input, offset: NaN } }, "ArgumentError::WrongType", "offset", "NaN"],
    ["a negative offset", { input: { buffer: args.input, offset: -4 } }, "ArgumentError::WrongType", "offset", "-4"],
    [
      "a misspelt offset",
      { input: { buffer: args.input, ofset: 4 } },
      "ArgumentError::UnknownField",
      "ofset",
      "offset",
    ],
    ["a view without a buffer", { input: { offset: 4 } }, "ArgumentError::Missing", "input.buffer"],
    ["a short stride", { input: { buffer: args.input, rowStride: 9 } }, "BindError::RowStride", "9", "10"],
    ["another element type", { input: { buffer: args.input, element: "f16" } }, "BindError::Element", "f16", "f32"],
    ["no storage", { input: uniform }, "BindError::Usage", "input", "STORAGE"],
    ["input and output in one place", { output: args.input }, "BindError::Overlap", "input", "output", "InPlace"],
    ["a misspelt place", { output: "inplace" }, "ArgumentError::UnknownWord", "inplace", "in-place"],
    ["statistics of another kind", { statistics: { given: args.scale } }, "BindError::NoSuchOperation", "layer"],
    [
      "running statistics of a layer norm",
      { statistics: { mean: args.scale, variance: args.bias } },
      "BindError::NoSuchOperation",
      "layer",
    ],
    ["statistics without a variance", { statistics: { mean: args.scale } }, "BindError::Missing", "running variance"],
    [
      "moments that are short",
      { statistics: { saved: { buffer: args.input, size: 60 } } },
      "BindError::Size",
      "64",
      "60",
    ],
  ];
  for (const [what, change, code, ...words] of forward) await expect(what, bind(change), code, ...words);
  await fine("in place", bind({ output: "in-place" }));
  await fine("an offset", bind({ input: { buffer: buffer(164), offset: 4 } }));
  await fine("a longer buffer", bind({ input: buffer(4096) }));
  await expect(
    "no operation of that name",
    () => norm.bind("forwards", args),
    "ArgumentError::UnknownOperation",
    "forwards",
    "forward",
  );
  await expect("no arguments", () => norm.bindForward(), "BindError::Missing", "input");
  await expect("nothing wanted", () => norm.bindExport({ saved: buffer(64) }), "BindError::NothingWanted", "export");
  await expect(
    "momentum",
    () =>
      engine
        .norm({ kind: "batch", shape: [4, 10] })
        .bindRunningUpdate({ saved: buffer(), mean: buffer(40), variance: buffer(40), momentum: 2 }),
    "BindError::Momentum",
    "2",
  );
  await expect(
    "a workspace that is short",
    () =>
      engine
        .norm({ kind: "layer", shape: [1, 1 << 20], axes: [1], affine: "none" })
        .bindForward({ input: buffer(1 << 22), output: buffer(1 << 22), workspace: buffer(16) }),
    "BindError::Size",
    "workspace",
    "16",
  );

  // what only the device knows
  const other = await openDevice();
  const foreign = emptyBuffer(other, 160);
  await expect(
    "a buffer of another device",
    () => bind({ input: foreign })().ready,
    "BindError::Device",
    "refused the bindings",
  );
  const gone = buffer();
  const bound = bind({ input: gone })();
  await fine("a buffer that is still there", () => bound.check());
  gone.destroy();
  await expect("a destroyed buffer", () => bound.check(), "BindError::Device", "refused the bindings");
  const used = bind({})();
  used.destroy();
  await expect("a destroyed binding", () => submit(device, [used]), "BindError::Device", "destroyed");
  await expect("no device", () => NormEngine.create(undefined), "ArgumentError::WrongType", "device");
  await expect(
    "an adapter as a device",
    async () => NormEngine.create(await navigator.gpu.requestAdapter()),
    "ArgumentError::WrongType",
    "GPUDevice",
  );
  await expect(
    "another kind of device",
    () => NormEngine.create(device, { kind: "tpu" }),
    "ArgumentError::UnknownWord",
    "tpu",
    "software",
  );
  await expect("no module", () => NormEngine.create(device, { wasm: "/not/there.wasm" }), "Wasm", "404");

  // nothing of it all has reached the device's own handler, and the engine works on
  await fine("the pass again", () => bind({})().check());
  other.destroy();
  device.destroy();
  return { count, failures };
}
