// Recorded cases in the words of the package: a descriptor, operations in order, and where results lie.

const product = (shape) => shape.reduce((a, b) => a * b, 1);
const fromEnd = (axis, rank) => (axis < 0 ? rank + axis : axis);
const type = (spec, otherwise) => (spec?.dtype ?? otherwise).toLowerCase();
const axesFrom = (first, rank) => Array.from({ length: rank - first }, (_, i) => first + i);

const PLAIN = {
  batch_norm: "batch",
  instance_norm: "instance",
  group_norm: "group",
  layer_norm: "layer",
  rms_norm: "rms",
  lp_normalize: "lp",
  lp_normalization: "lp",
  weight_norm: "weight",
  mean_variance_normalization: "mvn",
  adain: "adain",
};

/** Why a case is not run here; nothing where it is. */
export function leftOut({ op, attrs, inputs, generate, file, raises }) {
  if (raises) return "a refusal";
  if (!file || generate || inputs.batches || inputs.input_before_0) return "inputs in other forms";
  if (attrs.views) return "strided views";
  if (attrs.memory_format === "transposed") return "another order of axes";
  if (op.startsWith("fused_")) return attrs.prologue && inputs.dx_addend ? "another gradient" : undefined;
  return PLAIN[op] || op === "spectral_norm" ? undefined : "another operator";
}

function epsilon({ op, attrs, source, module }) {
  const given = attrs.eps !== undefined ? attrs.eps : (attrs.epsilon ?? module?.kwargs?.eps ?? 1e-5);
  if (op === "weight_norm") return { asGiven: 0 };
  if (op === "lp_normalization" || attrs.eps_mode === "none") return { insideRoot: 0 };
  if (op === "mean_variance_normalization") return { addedToDeviation: 1e-9 };
  if (given === null) return "machine";
  if (op === "lp_normalize") return { minimum: given };
  if (attrs.eps_mode === "added_to_std") return { addedToDeviation: given };
  const isFunction = !source.startsWith("torch.nn.") || source.startsWith("torch.nn.functional.");
  return given < 0 && isFunction ? { asGiven: given } : { insideRoot: given };
}

function momentum({ attrs, source }) {
  if (attrs.momentum === null) return "cumulative";
  const weight = attrs.momentum ?? 0.1;
  if (source.startsWith("onnx.")) return 1 - weight;
  return weight >= 0 && weight <= 1 ? weight : { asGiven: weight };
}

function types(c, [input, scale, gradInput, gradScale]) {
  const { inputs, outputs, dtype } = c;
  return {
    input: type(inputs[input], dtype),
    output: type(outputs.output, dtype),
    gradOutput: type(inputs.dy, dtype),
    gradInput: type(outputs[gradInput], dtype),
    scale: type(inputs[scale], dtype),
    bias: type(inputs.bias, dtype),
    gradScale: type(outputs[gradScale], dtype),
    gradBias: type(outputs.dbias, dtype),
  };
}

function affine(scale, bias) {
  return scale ? (bias ? "scale-and-bias" : "scale") : bias ? "bias" : "none";
}

/** The descriptor of a case, and the order of its axes in memory. */
export function describeCase(c) {
  if (c.op.startsWith("fused_")) return describeFused(c);
  const { op, attrs, inputs, module } = c;
  const kind = op === "spectral_norm" ? "spectral" : PLAIN[op];
  const names = kind === "weight" ? ["v", "g", "dv", "dg"] : ["input", "weight", "dx", "dweight"];
  let shape = [...inputs[kind === "spectral" ? "weight" : names[0]].shape];
  if (attrs.unbatched || (kind === "batch" && shape.length < 2)) shape = [1, ...shape];
  const rank = shape.length;
  const last = attrs.memory_format?.startsWith("channels_last") && rank > 2;
  const order = last ? [0, ...axesFrom(2, rank), 1] : axesFrom(0, rank);
  if (kind === "spectral") {
    const order = { u_then_v: "u-then-v", v_then_u: "v-then-u", vector: "u-then-v" }[attrs.order];
    return {
      kind,
      names,
      order: axesFrom(0, rank),
      descriptor: { kind, shape, dim: attrs.dim ?? 0, eps: attrs.eps, order },
    };
  }
  const descriptor = {
    kind,
    shape: order.map((axis) => shape[axis]),
    eps: epsilon(c),
    types: types(c, names),
    format: last ? "channels-last" : "channels-first",
    singleElement: attrs.raw || kind === "adain" ? "allow" : "refuse",
  };
  if (kind === "adain") {
    descriptor.styleShape = inputs.style.shape;
    descriptor.variance = attrs.unbiased ? "unbiased" : "biased";
    descriptor.styleEps = attrs.eps_mode === "added_to_std" ? "none" : "as-content";
    return { kind, names, order, descriptor };
  }
  descriptor.affine = affine(inputs[names[1]], inputs.bias);
  if (kind === "group") descriptor.groups = attrs.num_groups ?? module?.args?.[0] ?? 1;
  if (kind === "layer" || kind === "rms") {
    if (attrs.normalized_shape) descriptor.normalizedShape = attrs.normalized_shape;
    else descriptor.axes = axesFrom(fromEnd(attrs.axis ?? -1, rank), rank);
  }
  if (kind === "lp")
    Object.assign(descriptor, { p: Number(attrs.p ?? 2), axes: [fromEnd(attrs.axis ?? attrs.dim ?? -1, rank)] });
  if (kind === "weight") descriptor.dim = attrs.dim === null || attrs.dim < 0 ? null : attrs.dim;
  if (kind === "mvn") descriptor.axes = attrs.axes;
  return { kind, names, order, descriptor };
}

const activation = (name, slope) =>
  name === "leaky_relu" ? { leakyRelu: slope } : name === "none" ? "identity" : name.replace("_", "-");

function describeFused(c) {
  const { attrs, inputs, dtype } = c;
  const kind = attrs.norm;
  const input = inputs.input.shape,
    rank = input.length,
    size = attrs.group_size;
  // columns in groups: the last axis is two
  const shape = size ? [...input.slice(0, -1), input[rank - 1] / size, size] : [...input];
  const split = (axes) => axes?.flatMap((axis) => (size && axis === rank - 1 ? [rank - 1, rank] : [axis]));
  const axes = Object.fromEntries(Object.entries(attrs.operand_axes).map(([name, own]) => [name, split(own)]));
  const last = attrs.channel_axis === -1 && rank > 2;
  const descriptor = {
    kind,
    shape,
    eps: epsilon(c),
    format: last ? "channels-last" : "channels-first",
    affine: affine(axes.weight, axes.bias),
    types: types(c, ["input", "weight", "dx", "dweight"]),
  };
  let own = last ? [rank - 1] : [1];
  if (kind === "group") descriptor.groups = attrs.num_groups;
  if (kind === "layer" || kind === "rms") {
    const reduced = size ? [rank] : axesFrom(rank - attrs.normalized_shape.length, rank);
    descriptor.axes = own = reduced;
  }
  const parameters = axes.weight ?? axes.bias;
  if (parameters && String(parameters) !== String(own)) descriptor.affineAxes = parameters;
  const fusion = (descriptor.fusion = {});
  if (attrs.prologue) {
    const { multiplier, residual, bias, rounding, negative_slope } = attrs.prologue;
    fusion.prologue = { rounding: rounding === "exact" ? "exact" : (attrs.sum_dtype ?? dtype).toLowerCase() };
    if (multiplier === "gate") fusion.prologue.multiplier = { gate: axes.gate };
    else if (multiplier !== "none") fusion.prologue.multiplier = { activation: activation(multiplier, negative_slope) };
    if (residual) fusion.prologue.residual = axes.residual;
    if (bias) fusion.prologue.bias = axes.prologue_bias;
  }
  if (attrs.weight_offset === 1 && axes.weight) fusion.onePlusScale = true;
  if (attrs.normalized_rounding === "as_output") fusion.normalizedRounding = "as-output";
  if (attrs.modulation) {
    const { scale, shift, scale_offset } = attrs.modulation;
    fusion.modulation = { axes: axes.mod_scale ?? axes.mod_shift, scale, shift, onePlus: scale_offset === 1 };
  }
  if (attrs.epilogue) {
    const { addend, gate, out_gate, out_residual, factor, negative_slope } = attrs.epilogue;
    fusion.epilogue = {
      addend,
      activation: activation(attrs.epilogue.activation, negative_slope),
      outResidual: out_residual,
      factor,
    };
    if (gate !== "none") fusion.epilogue.gate = activation(gate, negative_slope);
    if (out_gate) fusion.epilogue.outGate = axes.out_gate;
  }
  const q = attrs.quantise;
  if (q) {
    const scale = q.scale === "block" ? { block: q.block } : q.scale;
    fusion.quantization = { format: q.format, scale, least: q.min_scale };
  }
  return { kind, names: ["input", "weight", "dx", "dweight"], order: axesFrom(0, rank), descriptor };
}

/**
 * The operations of a case, in order. `place` gives views: `input(name, result)` of a recorded input, which is updated
 * where it becomes a result; `output(name, length, type)` and `bytes(name, size)` of memory to be written.
 */
export function operations(c, norm, { kind, names, descriptor }, place) {
  const { attrs, inputs, outputs } = c;
  const { plan } = norm;
  const { input } = place;
  const has = (name) => inputs[name] !== undefined;
  const tensor = (name) =>
    outputs[name] && place.output(name, product(outputs[name].shape), type(outputs[name], c.dtype));
  const given = (name) => (has(name) ? input(name) : undefined);
  if (kind === "adain") {
    const saved = place.bytes("saved", plan.statisticsSize);
    const both = { input: input("input"), style: input("style"), saved };
    const all = [["forward", { ...both, output: tensor("output") }]];
    if (has("dy"))
      all.push([
        "backward",
        { ...both, gradOutput: input("dy"), gradInput: tensor("dx"), gradStyle: tensor("dstyle") },
      ]);
    return all;
  }
  const fused = kind in { layer: 0, rms: 0, group: 0, batch: 0, instance: 0 } && c.op.startsWith("fused_");
  const fusion = descriptor.fusion ?? {};
  const isGiven = fused
    ? attrs.training === false
    : ["batch", "instance"].includes(kind) &&
      !(attrs.training ?? attrs.use_input_stats ?? (attrs.training_mode ?? 1) !== 0);
  const trains = fused ? attrs.training === true : ["batch", "instance"].includes(kind) && !isGiven;
  const parameters = { scale: given(names[1]), bias: given("bias") };
  const beside = fused && {
    gate: given("gate"),
    z: given("z"),
    modulationScale: given("mod_scale"),
    modulationShift: given("mod_shift"),
    addend: given("addend"),
    outGate: given("out_gate"),
  };
  const sumType = fusion.prologue && (fusion.prologue.rounding === "exact" ? "f32" : fusion.prologue.rounding);
  const sum = sumType && place.output("sum", plan.length, sumType);
  const output = fusion.quantization ? place.bytes("output_q", plan.length) : tensor("output");
  const forward = { input: input(names[0]), output, ...parameters };
  if (fused) {
    const add = {
      residual: given("residual"),
      prologueBias: given("prologue_bias"),
      outResidual: given("out_residual"),
    };
    forward.fused = { ...beside, ...add, staticScale: given("static_scale"), sum, scales: tensor("output_scales") };
  }
  const all = [];
  const wants = [names[2], names[3], "dbias"].some((name) => outputs[name]) && has("dy") && !fusion.quantization;
  let statistics;
  if (isGiven) {
    statistics = { mean: input("running_mean"), variance: input("running_var") };
    all.push(["forward", { ...forward, statistics }]);
  } else if (trains || wants) {
    const saved = place.bytes("saved", plan.statisticsSize);
    statistics = { saved };
    all.push(["training", { ...forward, saved }]);
    if (trains && has("running_mean")) {
      const update = {
        saved,
        mean: input("running_mean", "running_mean_out"),
        variance: input("running_var", "running_var_out"),
      };
      update.momentum = momentum(c);
      update.batchVariance = c.source.startsWith("onnx.") ? "biased" : "unbiased";
      const counts = kind === "batch" && has("num_batches_tracked");
      if (counts || update.momentum === "cumulative")
        update.batches = place.counter("num_batches_tracked", "num_batches_tracked_out");
      all.push(["runningUpdate", update]);
    }
  } else {
    all.push(["forward", forward]);
  }
  if (wants) {
    const backward = { input: sum ?? forward.input, gradOutput: input("dy"), statistics, ...parameters };
    Object.assign(backward, { gradInput: tensor(names[2]), gradScale: tensor(names[3]), gradBias: tensor("dbias") });
    if (fused) {
      const multiplies = fusion.prologue?.multiplier && (outputs.dgate || outputs.dz);
      backward.fused = { ...beside, multiplied: multiplies ? input("input") : undefined };
      const gradients = {
        arriving: given("dsum") ?? given("dx_addend"),
        residual: tensor("dresidual"),
        gate: tensor("dgate"),
        z: tensor("dz"),
        prologueBias: tensor("dprologue_bias"),
        modulationScale: tensor("dmod_scale"),
        modulationShift: tensor("dmod_shift"),
        addend: tensor("daddend"),
        outGate: tensor("dout_gate"),
      };
      backward.fusedGradients = gradients;
    }
    all.push(["backward", backward]);
  }
  return all;
}
