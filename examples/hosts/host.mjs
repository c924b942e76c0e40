// The same as host.c in JavaScript, on Dawn by npm's package `webgpu`. In a browser the GPU is `navigator.gpu`.
//
//   node host.mjs PLAN [NAME=FILE...] [-- NAME=FILE...]
//
// The numbers below are the steps of docs/recipe.md. Exit code 1: something is wrong, and standard error says what.
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { create, globals } from 'webgpu';
Object.assign(globalThis, globals);
// kept here: where Dawn's object is collected, nothing is answered any more
const gpu = create([]);

function fail(words) {
  process.stderr.write(`host: ${words}\n`);
  process.exit(1);
}
process.on('uncaughtException', (error) => fail(`WebGPU error: ${error.message ?? error}`));

// ---- the plan: members that have to be there
function member(object, name, is) {
  const value = Object.hasOwn(object ?? {}, name) ? object[name] : undefined;
  return is(value) ? value : fail(`the plan lacks '${name}', or has it of another type`);
}
const list = (object, name) => member(object, name, Array.isArray);
const text = (object, name) => member(object, name, (value) => typeof value === 'string');
const whole = (object, name) => member(object, name, (value) => Number.isSafeInteger(value) && value >= 0);
const among = (all, object, name) => all[whole(object, name)] ?? fail(`the plan has a '${name}' too many`);

function readPlan(path) {
  let plan;
  try {
    plan = JSON.parse(read(path));
  } catch {}
  if (!Array.isArray(plan)) fail(`${path} is no JSON of \`wgpu-norm plan\``);
  const buffers = new Map();
  for (const recipe of plan.flatMap((each) => list(each, 'recipes'))) {
    if (whole(recipe, 'version') !== 1) fail(`a recipe of version ${recipe.version}: this host knows version 1`);
    // 2. the longest of those of one name
    for (const buffer of list(recipe, 'buffers')) {
      const known = buffers.get(text(buffer, 'name'))?.size ?? 0;
      buffers.set(buffer.name, { name: buffer.name, size: Math.max(known, Math.ceil(whole(buffer, 'size') / 4) * 4) });
    }
  }
  for (const tensor of plan.flatMap((each) => list(each, 'tensors'))) {
    const buffer = buffers.get(text(tensor, 'name'));
    if (!buffer) continue; // no recipe has it
    const header = npyHeader(text(tensor, 'element'), list(tensor, 'shape').map((_, i, shape) => whole(shape, i)));
    if (buffer.header && buffer.header.text !== header.text)
      fail(`${buffer.name} is ${buffer.header.text} here and ${header.text} there: plan one norm`);
    if (header.bytes > buffer.size) fail(`${buffer.name} is longer than its buffer`);
    buffer.header = header;
  }
  // moments, a workspace
  for (const buffer of buffers.values()) buffer.header ??= npyHeader('byte', [buffer.size]);
  return [plan, buffers];
}

// ---- .npy files
function read(path) {
  try {
    return readFileSync(path);
  } catch (error) {
    return fail(`${path} cannot be read: ${error.message}`);
  }
}
// its dictionary as NumPy writes it, and how many bytes follow it
function npyHeader(element, shape) {
  const type = { f32: '<f4', f16: '<f2', bf16: '<V2', byte: '|u1' }[element];
  if (!type) fail(`elements of type '${element}' are unknown here`);
  const sizes = shape.length === 1 ? `${shape[0]},` : shape.join(', ');
  const bytes = shape.reduce((product, size) => product * size, Number(type[2]));
  return { text: `{'descr': '${type}', 'fortran_order': False, 'shape': (${sizes}), }`, bytes };
}
function npyLoad(name, path, header) {
  const file = read(path);
  const magic = file.subarray(0, 6).toString('latin1');
  if (file.length < 12 || magic !== '\x93NUMPY') fail(`${name}: ${path} is no .npy file`);
  const start = file[6] === 1 ? 10 + file.readUInt16LE(8) : 12 + file.readUInt32LE(8);
  if (start > file.length) fail(`${name}: ${path} ends in its header`);
  const bare = (words) => words.replace(/\s/g, '');
  const found = bare(file.subarray(file[6] === 1 ? 10 : 12, start).toString('latin1'));
  if (found !== bare(header.text)) fail(`${name}: ${path} has ${found}, the plan ${bare(header.text)}`);
  if (file.length - start !== header.bytes)
    fail(`${name}: ${path} has ${file.length - start} bytes of elements, not ${header.bytes}`);
  return file.subarray(start);
}
function npySave(path, header, bytes) {
  // elements begin at a multiple of 64
  const length = Math.ceil((10 + header.text.length + 1) / 64) * 64 - 10;
  const start = Buffer.from(`\x93NUMPY\x01\0  ${header.text.padEnd(length - 1)}\n`, 'latin1');
  start.writeUInt16LE(length, 8);
  try {
    writeFileSync(`${path}.part`, Buffer.concat([start, bytes.subarray(0, header.bytes)]));
    renameSync(`${path}.part`, path);
  } catch (error) {
    fail(`${path} cannot be written: ${error.message}`);
  }
}

// ---- WebGPU
async function openDevice(hasSubgroups) {
  const adapter = await gpu.requestAdapter();
  if (!adapter) fail('no adapter');
  if (hasSubgroups && !adapter.features.has('subgroups')) fail('the plan needs subgroups, which the adapter has not');
  const requiredLimits = {}; // all that the adapter has: docs/recipe.md says which it was made for
  for (const name in adapter.limits) requiredLimits[name] = adapter.limits[name];
  return adapter.requestDevice({ requiredFeatures: hasSubgroups ? ['subgroups'] : [], requiredLimits });
}
// 3. A pipeline, and the layout of its bind group.
function compile(device, kernel) {
  const entry = (binding, type) => ({ binding, visibility: GPUShaderStage.COMPUTE, buffer: { type } });
  const type = (binding) => (text(binding, 'access') === 'read' ? 'read-only-storage' : 'storage');
  const bindings = list(kernel, 'bindings').map((each) => entry(whole(each, 'binding'), type(each)));
  const layout = device.createBindGroupLayout({ entries: [entry(0, 'uniform'), ...bindings] });
  const directives = kernel.subgroups ? 'enable subgroups;\ndiagnostic(off, subgroup_uniformity);\n' : '';
  const constants = member(kernel, 'constants', (value) => value && typeof value === 'object');
  for (const name in constants) member(constants, name, Number.isFinite);
  const pipeline = device.createComputePipeline({
    label: text(kernel, 'name'),
    layout: device.createPipelineLayout({ bindGroupLayouts: [layout] }),
    compute: {
      module: device.createShaderModule({ code: directives + text(kernel, 'source') }),
      entryPoint: text(kernel, 'entry_point'),
      constants,
    },
  });
  return { layout, pipeline };
}
// 4. to 6. Parameters, bind groups and dispatches, in order.
function record(device, pass, recipe, buffers) {
  const all = list(recipe, 'buffers');
  const kernels = list(recipe, 'kernels').map((kernel) => compile(device, kernel));
  for (const dispatch of list(recipe, 'dispatches')) {
    const digits = text(dispatch, 'parameters');
    if (!/^([0-9a-f]{2})+$/i.test(digits)) fail(`the plan has parameters '${digits}'`);
    const bytes = Buffer.from(digits, 'hex');
    const usage = GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST;
    const parameters = device.createBuffer({ size: bytes.length, usage });
    device.queue.writeBuffer(parameters, 0, bytes);
    const { layout, pipeline } = among(kernels, dispatch, 'kernel');
    const ranges = list(dispatch, 'bindings').map((each) => {
      const buffer = buffers.get(among(all, each, 'buffer').name).gpu;
      const resource = { buffer, offset: whole(each, 'offset'), size: whole(each, 'size') };
      return { binding: whole(each, 'binding'), resource };
    });
    const entries = [{ binding: 0, resource: { buffer: parameters } }, ...ranges];
    const workgroups = list(dispatch, 'workgroups');
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, device.createBindGroup({ layout, entries }));
    pass.dispatchWorkgroups(whole(workgroups, 0), whole(workgroups, 1));
  }
}

// ---- 1. first all that can be wrong without a device
const [path, ...files] = process.argv.slice(2);
if (!path) fail('usage: node host.mjs PLAN [NAME=FILE.npy...] [-- NAME=FILE.npy...]');
const [plan, buffers] = readPlan(path);
const recipes = plan.flatMap((each) => each.recipes);
const outputs = files.includes('--') ? files.splice(files.indexOf('--')).slice(1) : [];
function named(argument) {
  const [, name, file] = /^([^=]*)=(.*)$/.exec(argument) ?? fail(`'${argument}' is not NAME=FILE`);
  const known = [...buffers.keys()].map((each) => ` '${each}'`).join('');
  return [buffers.get(name) ?? fail(`the plan has no buffer '${name}'; it has${known}`), file];
}
for (const [buffer, file] of files.map(named)) buffer.content = npyLoad(buffer.name, file, buffer.header);
for (const [buffer, file] of outputs.map(named)) buffer.target = file;
const filled = new Set();
let hasSubgroups = false;
for (const recipe of recipes) {
  for (const each of list(recipe, 'dispatches').flatMap((dispatch) => list(dispatch, 'bindings')))
    if (text(each, 'access') === 'read_write') filled.add(among(recipe.buffers, each, 'buffer').name);
  for (const kernel of list(recipe, 'kernels'))
    hasSubgroups = member(kernel, 'subgroups', (value) => typeof value === 'boolean') || hasSubgroups;
}
for (const buffer of buffers.values())
  if (!buffer.content && !filled.has(buffer.name)) fail(`the plan reads '${buffer.name}', and no file gives it`);

const device = await openDevice(hasSubgroups);
device.pushErrorScope('validation');
for (const buffer of buffers.values()) {
  const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;
  buffer.gpu = device.createBuffer({ size: buffer.size, usage });
  // writes are of whole words
  const padded = Buffer.alloc(buffer.size);
  buffer.content?.copy(padded);
  device.queue.writeBuffer(buffer.gpu, 0, padded);
}
const encoder = device.createCommandEncoder();
const pass = encoder.beginComputePass();
for (const recipe of recipes) record(device, pass, recipe, buffers);
pass.end();
const results = [...buffers.values()].filter((buffer) => buffer.target);
for (const buffer of results) {
  buffer.copy = device.createBuffer({ size: buffer.size, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST });
  encoder.copyBufferToBuffer(buffer.gpu, 0, buffer.copy, 0, buffer.size);
}
device.queue.submit([encoder.finish()]);
const error = await device.popErrorScope();
if (error) fail(`WebGPU error: ${error.message}`);
for (const buffer of results) {
  await buffer.copy.mapAsync(GPUMapMode.READ);
  npySave(buffer.target, buffer.header, Buffer.from(buffer.copy.getMappedRange()));
}
process.exit(0);
