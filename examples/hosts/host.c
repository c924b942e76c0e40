// Runs what `wgpu-norm plan ... --json PLAN` wrote, by webgpu.h; of wgpu-norm it has nothing.
//
//   host PLAN [NAME=FILE...] [-- NAME=FILE...]
//
// Buffers named before `--` come from .npy files, those behind it go to .npy files; what no file gives is 0 at first.
// All cases of the plan run in order on the same buffers: one of --training --backward hands its moments on.
// The numbers below are the steps of docs/recipe.md. Exit code 1: something is wrong, and standard error says what.
#include "plan.h"
#include <webgpu.h>
#if __has_include(<wgpu.h>) // wgpu-native: a feature of its own stands for subgroups, and its WGSL wants no directives
#include <wgpu.h>
#define SUBGROUPS ((WGPUFeatureName)WGPUNativeFeature_Subgroup)
#define DIRECTIVES ""
#else
#define SUBGROUPS WGPUFeatureName_Subgroups
#define DIRECTIVES "enable subgroups;\ndiagnostic(off, subgroup_uniformity);\n"
#endif

static WGPUInstance instance;
static WGPUAdapter adapter;
static WGPUDevice device;
static WGPUQueue queue;
static WGPUBuffer *gpu; // as many as `buffers`
static bool is_done;

static WGPUStringView view(const char *text) { return (WGPUStringView){text, WGPU_STRLEN}; }
static int shown(WGPUStringView text) { return (int)(text.length == WGPU_STRLEN ? strlen(text.data) : text.length); }

// ---- answers of WebGPU
static void on_adapter(WGPURequestAdapterStatus status, WGPUAdapter it, WGPUStringView why, void *a, void *b) {
  (void)a, (void)b;
  if (status != WGPURequestAdapterStatus_Success) fail("no adapter: %.*s", shown(why), why.data);
  adapter = it, is_done = true;
}
static void on_device(WGPURequestDeviceStatus status, WGPUDevice it, WGPUStringView why, void *a, void *b) {
  (void)a, (void)b;
  if (status != WGPURequestDeviceStatus_Success) fail("no device: %.*s", shown(why), why.data);
  device = it, is_done = true;
}
static void on_map(WGPUMapAsyncStatus status, WGPUStringView why, void *a, void *b) {
  (void)a, (void)b;
  if (status != WGPUMapAsyncStatus_Success) fail("no result: %.*s", shown(why), why.data);
  is_done = true;
}
static void on_error(const WGPUDevice *it, WGPUErrorType type, WGPUStringView why, void *a, void *b) {
  (void)it, (void)a, (void)b;
  fail("WebGPU error %d: %.*s", (int)type, shown(why), why.data);
}
static void wait(void) {
  while (!is_done) wgpuInstanceProcessEvents(instance);
  is_done = false;
}

static void open_device(void) {
  instance = wgpuCreateInstance(NULL);
  WGPURequestAdapterCallbackInfo adapted = {.mode = WGPUCallbackMode_AllowProcessEvents, .callback = on_adapter};
  wgpuInstanceRequestAdapter(instance, NULL, adapted);
  wait();
  WGPULimits limits = WGPU_LIMITS_INIT; // all that the adapter has: the plan says which it was made for
  wgpuAdapterGetLimits(adapter, &limits);
  WGPUFeatureName subgroups = SUBGROUPS;
  if (has_subgroups && !wgpuAdapterHasFeature(adapter, subgroups))
    fail("the plan needs subgroups, which the adapter has not");
  WGPUDeviceDescriptor descriptor = {.requiredFeatureCount = has_subgroups, .requiredFeatures = &subgroups,
                                     .requiredLimits = &limits, .uncapturedErrorCallbackInfo.callback = on_error};
  WGPURequestDeviceCallbackInfo made = {.mode = WGPUCallbackMode_AllowProcessEvents, .callback = on_device};
  wgpuAdapterRequestDevice(adapter, &descriptor, made);
  wait();
  queue = wgpuDeviceGetQueue(device);
}
static WGPUBuffer new_buffer(WGPUBufferUsage usage, uint64_t size, const void *content) {
  WGPUBuffer buffer = wgpuDeviceCreateBuffer(device, &(WGPUBufferDescriptor){.usage = usage, .size = size});
  if (content) wgpuQueueWriteBuffer(queue, buffer, 0, content, size);
  return buffer;
}

// 3. A pipeline, and the layout of its bind group.
static WGPUComputePipeline compile(const cJSON *kernel, WGPUBindGroupLayout *layout) {
  const cJSON *bindings = list(kernel, "bindings"), *constants = member(kernel, "constants", cJSON_Object), *each;
  size_t count = 1;
  WGPUBindGroupLayoutEntry *entries = zeros((size_t)cJSON_GetArraySize(bindings) + 1, sizeof *entries);
  entries[0] = (WGPUBindGroupLayoutEntry){.visibility = WGPUShaderStage_Compute,
                                          .buffer.type = WGPUBufferBindingType_Uniform};
  cJSON_ArrayForEach(each, bindings) {
    bool reads = !strcmp(string(each, "access"), "read");
    entries[count++] = (WGPUBindGroupLayoutEntry){
        .binding = (uint32_t)number(each, "binding"), .visibility = WGPUShaderStage_Compute,
        .buffer.type = reads ? WGPUBufferBindingType_ReadOnlyStorage : WGPUBufferBindingType_Storage};
  }
  *layout = wgpuDeviceCreateBindGroupLayout(
      device, &(WGPUBindGroupLayoutDescriptor){.entryCount = count, .entries = entries});
  const char *head = cJSON_IsTrue(member(kernel, "subgroups", BOOLEAN)) ? DIRECTIVES : "";
  char *source = zeros(strlen(head) + strlen(string(kernel, "source")) + 1, 1);
  strcat(strcpy(source, head), string(kernel, "source"));
  WGPUShaderSourceWGSL wgsl = {.chain.sType = WGPUSType_ShaderSourceWGSL, .code = view(source)};
  WGPUComputePipelineDescriptor pipeline = {
      .label = view(string(kernel, "name")),
      .layout = wgpuDeviceCreatePipelineLayout(
          device, &(WGPUPipelineLayoutDescriptor){.bindGroupLayoutCount = 1, .bindGroupLayouts = layout}),
      .compute.module = wgpuDeviceCreateShaderModule(device, &(WGPUShaderModuleDescriptor){.nextInChain = &wgsl.chain}),
      .compute.entryPoint = view(string(kernel, "entry_point"))};
  WGPUConstantEntry *values = zeros((size_t)cJSON_GetArraySize(constants), sizeof *values);
  cJSON_ArrayForEach(each, constants) {
    if (!cJSON_IsNumber(each)) fail("constant %s of the plan is no number", each->string);
    values[pipeline.compute.constantCount++] =
        (WGPUConstantEntry){.key = view(each->string), .value = each->valuedouble};
  }
  pipeline.compute.constants = values;
  return wgpuDeviceCreateComputePipeline(device, &pipeline);
}
// 4. Parameters, from hexadecimal digits.
static WGPUBuffer parameters(const char *digits, size_t *size) {
  *size = strlen(digits) / 2;
  if (!*size || strspn(digits, "0123456789abcdefABCDEF") != *size * 2) fail("the plan has parameters '%s'", digits);
  unsigned char *bytes = zeros(*size, 1);
  for (size_t i = 0; i < *size; i++) sscanf(digits + 2 * i, "%2hhx", &bytes[i]);
  WGPUBuffer buffer = new_buffer(WGPUBufferUsage_Uniform | WGPUBufferUsage_CopyDst, *size, bytes);
  free(bytes);
  return buffer;
}
// 5. and 6. Bind groups and dispatches, in order.
static void record(WGPUComputePassEncoder pass, const cJSON *recipe) {
  const cJSON *all = list(recipe, "buffers"), *kernels = list(recipe, "kernels"), *dispatch, *each;
  int count = cJSON_GetArraySize(kernels), kernel;
  WGPUComputePipeline *pipelines = zeros((size_t)count, sizeof *pipelines);
  WGPUBindGroupLayout *layouts = zeros((size_t)count, sizeof *layouts);
  for (int i = 0; i < count; i++) pipelines[i] = compile(cJSON_GetArrayItem(kernels, i), &layouts[i]);
  cJSON_ArrayForEach(dispatch, list(recipe, "dispatches")) {
    const cJSON *bindings = list(dispatch, "bindings"), *workgroups = list(dispatch, "workgroups");
    WGPUBindGroupEntry *entries = zeros((size_t)cJSON_GetArraySize(bindings) + 1, sizeof *entries);
    size_t bound = 1, size;
    entries[0].buffer = parameters(string(dispatch, "parameters"), &size);
    entries[0].size = size;
    cJSON_ArrayForEach(each, bindings) entries[bound++] = (WGPUBindGroupEntry){
        .binding = (uint32_t)number(each, "binding"), .offset = number(each, "offset"), .size = number(each, "size"),
        .buffer = gpu[find(string(cJSON_GetArrayItem(all, place(each, "buffer", all)), "name")) - buffers]};
    kernel = place(dispatch, "kernel", kernels);
    WGPUBindGroupDescriptor group = {.layout = layouts[kernel], .entryCount = bound, .entries = entries};
    wgpuComputePassEncoderSetPipeline(pass, pipelines[kernel]);
    wgpuComputePassEncoderSetBindGroup(pass, 0, wgpuDeviceCreateBindGroup(device, &group), 0, NULL);
    wgpuComputePassEncoderDispatchWorkgroups(pass, (uint32_t)whole(cJSON_GetArrayItem(workgroups, 0), "workgroups"),
                                             (uint32_t)whole(cJSON_GetArrayItem(workgroups, 1), "workgroups"), 1);
    free(entries);
  }
}

// What a buffer holds now goes to its file.
static void save(size_t i) {
  uint64_t size = buffers[i].size;
  WGPUBuffer copy = new_buffer(WGPUBufferUsage_MapRead | WGPUBufferUsage_CopyDst, size, NULL);
  WGPUCommandEncoder encoder = wgpuDeviceCreateCommandEncoder(device, NULL);
  wgpuCommandEncoderCopyBufferToBuffer(encoder, gpu[i], 0, copy, 0, size);
  WGPUCommandBuffer commands = wgpuCommandEncoderFinish(encoder, NULL);
  wgpuQueueSubmit(queue, 1, &commands);
  WGPUBufferMapCallbackInfo mapped = {.mode = WGPUCallbackMode_AllowProcessEvents, .callback = on_map};
  wgpuBufferMapAsync(copy, WGPUMapMode_Read, 0, size, mapped);
  wait();
  npy_save(buffers[i].target, &buffers[i].header, wgpuBufferGetConstMappedRange(copy, 0, size));
}

int main(int count, char **arguments) {
  if (count < 2) fail("usage: host PLAN [NAME=FILE.npy...] [-- NAME=FILE.npy...]");
  const cJSON *plan = read_plan(arguments[1]), *each, *recipe; // 1.
  read_files(count - 2, arguments + 2);
  open_device();
  gpu = zeros(buffer_count, sizeof *gpu); // 2.
  WGPUBufferUsage usage = WGPUBufferUsage_Storage | WGPUBufferUsage_CopySrc | WGPUBufferUsage_CopyDst;
  for (size_t i = 0; i < buffer_count; i++) gpu[i] = new_buffer(usage, buffers[i].size, buffers[i].content);
  WGPUCommandEncoder encoder = wgpuDeviceCreateCommandEncoder(device, NULL);
  WGPUComputePassEncoder pass = wgpuCommandEncoderBeginComputePass(encoder, NULL);
  cJSON_ArrayForEach(each, plan) cJSON_ArrayForEach(recipe, list(each, "recipes")) record(pass, recipe);
  wgpuComputePassEncoderEnd(pass);
  WGPUCommandBuffer commands = wgpuCommandEncoderFinish(encoder, NULL);
  wgpuQueueSubmit(queue, 1, &commands);
  for (size_t i = 0; i < buffer_count; i++)
    if (buffers[i].target) save(i);
  return 0;
}
