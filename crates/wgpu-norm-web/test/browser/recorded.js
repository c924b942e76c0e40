// Recorded cases through the package: outputs, gradients and running statistics against the f64 oracle.
import { moduleSource, NormEngine, NormError } from "/dist/index.js";
import { describeCase, leftOut, operations } from "./cases.js";
import { BYTES, decode, download, emptyBuffer, run, upload } from "./gpu.js";
import { openSafetensors } from "./safetensors.js";

const FLOOR = { F32: 1e-6, F16: 1e-3, BF16: 8e-3 };

/** Results whose class says that they are denormal: this device takes those for 0. */
const DENORMAL = /denormal|min_normal/;

let chosen = [];

/**
 * Chooses cases of all families: so many of each operator and type, in f32 also of each layout and source of
 * statistics, those with gradients first. They are run by number.
 */
export async function choose(folders, each, keepsDenormals) {
  const all = [];
  for (const folder of folders) {
    const index = await (await fetch(`${folder}/cases.json`)).json();
    const files = new Map();
    for (const file of index.files) files.set(file, await openSafetensors(`${folder}/${file}`));
    all.push(...index.cases.map((c) => ({ c, read: (name) => files.get(c.file)(`${c.name}/${name}`) })));
  }
  const gradients = ({ c }) => Object.keys(c.outputs).filter((name) => name.startsWith("d")).length;
  const seen = new Map();
  chosen = all
    .filter(({ c }) => !leftOut(c) && (keepsDenormals || !DENORMAL.test(`${c.name} ${c.class}`)))
    .sort((a, b) => gradients(b) - gradients(a))
    .filter(({ c }) => {
      const computes = c.attrs.training ?? c.attrs.use_input_stats ?? c.attrs.training_mode ?? true;
      const last = c.attrs.memory_format?.startsWith("channels_last") ?? false;
      const key = c.dtype === "F32" ? [c.op, c.dtype, Boolean(computes), last].join() : [c.op, c.dtype].join();
      seen.set(key, (seen.get(key) ?? 0) + 1);
      return seen.get(key) <= each;
    });
  return chosen.map(({ c }) => ({ op: c.op, dtype: c.dtype }));
}

/** Runs a chosen case; counts its tensors, and what failed. */
export async function runCase(engine, number) {
  const { c, read } = chosen[number];
  const tally = { tensors: 0, gradients: 0, failures: [] };
  try {
    const results = await compute(engine, c, read);
    for (const [name, values] of results) {
      if (c.outputs[name].optional || c.outputs[name].quantised) continue;
      const fault = judge(c, name, values, read);
      if (fault) tally.failures.push(`${c.name} ${name}: ${fault}`);
      tally.tensors++;
      if (name.startsWith("d")) tally.gradients++;
    }
    for (const [name, spec] of Object.entries(c.outputs)) {
      // what passes through, and the steps before the last
      const other = name === "dout_residual" || /_\d+$/.test(name);
      if (!spec.optional && !results.has(name) && !other) tally.failures.push(`${c.name} ${name}: missing`);
    }
  } catch (error) {
    tally.failures.push(`${c.name}: ${error.code ?? error.stack} ${error.message}`);
  }
  return tally;
}

/** The elements of a tensor with its axes in another order. */
function permute(values, shape, order) {
  const strides = shape.map((_, axis) => shape.slice(axis + 1).reduce((a, b) => a * b, 1));
  const index = order.map(() => 0);
  return values.map(() => {
    const from = order.reduce((sum, axis, place) => sum + strides[axis] * index[place], 0);
    for (let place = order.length - 1; place >= 0 && ++index[place] === shape[order[place]]; place--) index[place] = 0;
    return values[from];
  });
}

const isSorted = (order) => order.every((axis, place) => axis === place);

/** Runs a case; its results by name. */
async function compute(engine, c, read) {
  const device = engine.device;
  const described = describeCase(c);
  const { order } = described;
  const norm = engine.norm(described.descriptor);
  const rank = order.length;
  const buffers = new Map();
  const results = new Map();
  const place = {
    input(name, result) {
      const stored = read(name);
      // running statistics are f32 whatever a record has
      const { type, bytes, shape } = name.startsWith("running_") ? widened(stored) : stored;
      const key = result ?? name;
      if (!buffers.has(key)) {
        const moved = isSorted(order) || shape.length !== rank ? bytes : permuteBytes(bytes, type, shape, order);
        buffers.set(key, upload(device, new Uint8Array(moved)));
        if (result) results.set(result, { type, shape });
      }
      return { buffer: buffers.get(key), element: type };
    },
    counter(name, result) {
      buffers.set(result, upload(device, Uint32Array.from(decode(read(name).bytes, "i64"))));
      results.set(result, { type: "u32", shape: [1] });
      return buffers.get(result);
    },
    output(name, length, type) {
      buffers.set(name, emptyBuffer(device, length * BYTES[type]));
      results.set(name, { type, shape: c.outputs[name]?.shape });
      return { buffer: buffers.get(name), element: type };
    },
    bytes(name, size) {
      if (!buffers.has(name)) buffers.set(name, emptyBuffer(device, size));
      return buffers.get(name);
    },
  };
  const bindings =
    described.kind === "spectral"
      ? spectral(c, norm, place)
      : operations(c, norm, described, place).map(([operation, args]) => norm.bind(operation, args));
  run(device, bindings);
  const names = [...results.keys()].filter((name) => c.outputs[name]);
  const bytes = await download(
    device,
    names.map((name) => buffers.get(name)),
  );
  await Promise.all(bindings.map((bound) => bound.ready));
  bindings.forEach((bound) => bound.destroy());
  buffers.forEach((buffer) => buffer.destroy());
  return new Map(
    names.map((name, i) => {
      const { type, shape } = results.get(name);
      const values = decode(bytes[i], type).slice(
        0,
        shape.reduce((a, b) => a * b, 1),
      );
      if (isSorted(order) || shape.length !== rank) return [name, values];
      const back = order.map((_, axis) => order.indexOf(axis));
      return [
        name,
        permute(
          values,
          order.map((axis) => shape[axis]),
          back,
        ),
      ];
    }),
  );
}

function widened({ type, bytes, shape }) {
  return { type: "f32", bytes: Float32Array.from(decode(bytes, type)).buffer, shape };
}

function permuteBytes(bytes, type, shape, order) {
  const array = BYTES[type] === 2 ? new Uint16Array(bytes) : new Uint32Array(bytes);
  return permute(array, shape, order).buffer;
}

/** The last of the steps of a power iteration, after those before it, and its gradient. */
function spectral(c, norm, place) {
  const { steps, training, n_power_iterations: iterations } = c.attrs;
  const vectors = norm.plan.rows ? { u: place.input("u", `u_${steps}`), v: place.input("v", `v_${steps}`) } : {};
  const weight = place.input("weight");
  const sigma = place.output(`sigma_${steps}`, 1, "f32");
  const output = place.output(`output_${steps}`, norm.plan.length, "f32");
  const forward = { weight, output, sigma, ...vectors, iterations: training && norm.plan.rows ? iterations : 0 };
  const bindings = Array.from({ length: steps }, () => norm.bindForward(forward));
  if (c.outputs.dweight && c.inputs.dy) {
    const gradWeight = place.output("dweight", norm.plan.length, "f32");
    bindings.push(norm.bindBackward({ weight, gradOutput: place.input("dy"), gradWeight, sigma, ...vectors }));
  }
  return bindings;
}

/** What is wrong with a result; nothing where it is good. */
function judge(c, name, ours, read) {
  const spec = c.outputs[name];
  if (!spec.oracle) {
    const expected = decode(read(name).bytes, "i64");
    return expected.every((value, i) => value === ours[i]) ? undefined : `${[...ours]} is not ${[...expected]}`;
  }
  const oracle = decode(read(`${name}.f64`).bytes, "f64"),
    stored = read(name);
  const peer = decode(stored.bytes, stored.type);
  const limit = Math.max(2 * (Number(spec.peer_err) || 0), FLOOR[c.dtype]);
  let worst = 0;
  for (let i = 0; i < oracle.length; i++) {
    const expected = Math.fround(oracle[i]);
    if (!Number.isFinite(ours[i]) || !Number.isFinite(expected)) {
      const same = [expected, peer[i]].some((value) => Object.is(value, ours[i]));
      if (!same && !(Number.isFinite(expected) && Number.isFinite(ours[i]))) {
        return `element ${i} is ${ours[i]}, the oracle has ${expected}`;
      }
      continue;
    }
    const error = Math.abs(ours[i] - oracle[i]) / (spec.scale || 1);
    if (error > worst) worst = error;
  }
  return worst > limit ? `error ${worst}, limit ${limit}` : undefined;
}

/** Every kernel that the recipes of all cases of a family need, by name: for schedules of this engine. */
export async function kernelsOf(engine, folder, pool, kernels) {
  const index = await (await fetch(`${folder}/cases.json`)).json();
  const unlike = [];
  for (const c of index.cases.filter((c) => !leftOut(c) && c.op !== "spectral_norm")) {
    let next = 0;
    const known = new Map();
    const buffer = (name) => known.get(name) ?? (known.set(name, pool[next++]), known.get(name));
    const place = {
      input: (name, result) => ({ buffer: buffer(result ?? name), element: elementOf(c, name) }),
      counter: (name) => buffer(name),
      output: (name, _length, type) => ({ buffer: buffer(name), element: type }),
      bytes: buffer,
    };
    try {
      const described = describeCase(c);
      const norm = engine.norm(described.descriptor);
      for (const [operation, args] of operations(c, norm, described, place)) {
        const { mean, variance, ...statistics } = args.statistics ?? {};
        const given = mean ? { given: buffer("given") } : args.statistics && statistics;
        const recipe = norm.recipe(operation, {
          ...args,
          statistics: given,
          workspace: workspaceOf(operation, buffer),
        });
        for (const kernel of recipe.kernels) kernels.set(kernel.name, kernel);
      }
    } catch (error) {
      // of tensors larger than the buffers there is no recipe
      if (!(error instanceof NormError && error.code === "BindError::OutOfBounds"))
        unlike.push(`${c.name}: ${error.message}`);
    }
  }
  return unlike;
}

const elementOf = (c, name) => (name.startsWith("running_") ? "f32" : (c.inputs[name]?.dtype ?? "F32").toLowerCase());

const workspaceOf = (operation, buffer) =>
  ["runningUpdate", "export", "import"].includes(operation) ? undefined : buffer("workspace");

/** Compiles every kernel of all cases, for schedules of a kind of device; how many, and what the browser refuses. */
export async function compileAll(device, kind, folders) {
  const engine = await NormEngine.create(device, { kind });
  const pool = Array.from({ length: 32 }, () => emptyBuffer(device, 1 << 20));
  const kernels = new Map();
  const failures = [];
  for (const folder of folders) failures.push(...(await kernelsOf(engine, folder, pool, kernels)));
  pool.forEach((buffer) => buffer.destroy());
  const started = [...kernels.values()].map(async (kernel) => {
    const module = device.createShaderModule({ code: moduleSource(kernel) });
    const { messages } = await module.getCompilationInfo();
    const error = messages.find(({ type }) => type === "error");
    if (error) failures.push(`${kernel.name}: ${error.lineNum}:${error.linePos} ${error.message}`);
  });
  device.pushErrorScope("validation");
  await Promise.all(started);
  await device.popErrorScope();
  return { count: kernels.size, failures };
}
