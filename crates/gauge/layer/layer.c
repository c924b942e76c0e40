// A Vulkan layer that writes down what a driver's compiler makes of every compute pipeline: statistics and machine code
// (VK_KHR_pipeline_executable_properties), and the grid of every dispatch. It works under any Vulkan program.
//
// Drivers can compile without hardware (RADV's null device, Mesa's drm-shims), but cannot run anything there. For those
// the layer is the device: it answers synchronization and submission itself, offers a memory type where there is none,
// and records no commands. What such a program reads back is nonsense.
//
//   GAUGE_DIR=DIR        DIR/pipelines.jsonl: a line a pipeline, a line a dispatch; DIR/ID.*.txt: the listings
//   GAUGE_NULL_DEVICE=1  there is no hardware
//   GAUGE_UNCHECKED=1    no bounds checks, for drivers that do them in code
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <vulkan/vk_layer.h>
#include <vulkan/vulkan.h>

#define API(type) static VKAPI_ATTR type VKAPI_CALL
typedef const VkAllocationCallbacks *Allocator;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static PFN_vkGetInstanceProcAddr next_instance;
static PFN_vkGetDeviceProcAddr next_device;
static VkInstance the_instance;

// The driver's functions that the layer stands before. One device at a time is enough for a gauge.
static struct {
   PFN_vkCreateShaderModule CreateShaderModule;
   PFN_vkCreateComputePipelines CreateComputePipelines;
   PFN_vkGetPipelineExecutablePropertiesKHR GetPipelineExecutablePropertiesKHR;
   PFN_vkGetPipelineExecutableStatisticsKHR GetPipelineExecutableStatisticsKHR;
   PFN_vkGetPipelineExecutableInternalRepresentationsKHR GetPipelineExecutableInternalRepresentationsKHR;
   PFN_vkGetPhysicalDeviceMemoryProperties GetPhysicalDeviceMemoryProperties;
   PFN_vkGetPhysicalDeviceMemoryProperties2 GetPhysicalDeviceMemoryProperties2;
   PFN_vkGetBufferMemoryRequirements GetBufferMemoryRequirements;
   PFN_vkGetBufferMemoryRequirements2 GetBufferMemoryRequirements2;
   PFN_vkGetImageMemoryRequirements GetImageMemoryRequirements;
   PFN_vkGetImageMemoryRequirements2 GetImageMemoryRequirements2;
} next;

static int is_set(const char *name) {
   const char *value = getenv(name);
   return value && *value == '1';
}

// ---- what is written down

static FILE *output(void) {
   static FILE *file;
   if (!file && getenv("GAUGE_DIR")) {
      char path[4096];
      snprintf(path, sizeof path, "%s/pipelines.jsonl", getenv("GAUGE_DIR"));
      file = fopen(path, "a");
   }
   return file ? file : stderr;
}

// Names of drivers are plain words; what would end a JSON string or leave the folder is replaced.
static const char *plain(char *copy, size_t size, const char *name) {
   snprintf(copy, size, "%s", name);
   for (char *c = copy; *c; c++)
      if (*c == '"' || *c == '\\' || *c == '/' || *c < ' ') *c = '_';
   return copy;
}

// What is known of a handle: modules have code, pipelines have a number.
struct known {
   uint64_t handle;
   int number;
   uint32_t words, local[3];
   struct known *next;
};
static struct known *modules, *pipelines;

static struct known *find(struct known *list, uint64_t handle) {
   while (list && list->handle != handle) list = list->next;
   return list;
}

// The newest of a handle comes first: drivers give freed handles away again.
static struct known *remember(struct known **list, uint64_t handle) {
   struct known *known = calloc(1, sizeof *known);
   known->handle = handle;
   known->next = *list;
   return *list = known;
}

API(VkResult) CreateShaderModule(VkDevice device, const VkShaderModuleCreateInfo *info, Allocator a,
                                 VkShaderModule *m) {
   VkResult result = next.CreateShaderModule(device, info, a, m);
   if (result != VK_SUCCESS) return result;
   pthread_mutex_lock(&lock);
   struct known *module = remember(&modules, (uint64_t)*m);
   module->words = info->codeSize / 4;
   // OpExecutionMode (16) with LocalSize (17): the workgroup; instructions start after five words of header
   for (uint32_t at = 5; at < module->words && info->pCode[at] >> 16; at += info->pCode[at] >> 16)
      if ((info->pCode[at] & 0xffff) == 16 && info->pCode[at + 2] == 17)
         memcpy(module->local, &info->pCode[at + 3], sizeof module->local);
   pthread_mutex_unlock(&lock);
   return result;
}

static void write_statistics(VkDevice device, const VkPipelineExecutableInfoKHR *executable) {
   VkPipelineExecutableStatisticKHR values[64];
   uint32_t count = 64;
   for (uint32_t i = 0; i < count; i++)
      values[i] = (VkPipelineExecutableStatisticKHR){VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_STATISTIC_KHR};
   next.GetPipelineExecutableStatisticsKHR(device, executable, &count, values);
   for (uint32_t i = 0; i < count; i++) {
      char name[VK_MAX_DESCRIPTION_SIZE];
      fprintf(output(), "%s\"%s\":", i ? "," : "", plain(name, sizeof name, values[i].name));
      switch (values[i].format) {
      case VK_PIPELINE_EXECUTABLE_STATISTIC_FORMAT_FLOAT64_KHR: fprintf(output(), "%g", values[i].value.f64); break;
      case VK_PIPELINE_EXECUTABLE_STATISTIC_FORMAT_BOOL32_KHR: fprintf(output(), "%u", values[i].value.b32); break;
      default: fprintf(output(), "%llu", (unsigned long long)values[i].value.u64);
      }
   }
}

// Listings of the machine code and of what compilers keep on the way to it, a file each.
static void write_listings(VkDevice device, const VkPipelineExecutableInfoKHR *executable, int number) {
   VkPipelineExecutableInternalRepresentationKHR texts[16];
   uint32_t count = 16;
   for (uint32_t i = 0; i < count; i++)
      texts[i] = (VkPipelineExecutableInternalRepresentationKHR){
         VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_INTERNAL_REPRESENTATION_KHR};
   next.GetPipelineExecutableInternalRepresentationsKHR(device, executable, &count, texts);
   for (uint32_t i = 0; i < count; i++) texts[i].pData = calloc(1, texts[i].dataSize + 1);
   next.GetPipelineExecutableInternalRepresentationsKHR(device, executable, &count, texts);
   for (uint32_t i = 0; i < count; i++) {
      char name[VK_MAX_DESCRIPTION_SIZE], path[4096];
      snprintf(path, sizeof path, "%s/%d-%d.%s.txt", getenv("GAUGE_DIR"), getpid(), number,
               plain(name, sizeof name, texts[i].name));
      FILE *file = fopen(path, "w");
      if (file) {
         fputs(texts[i].pData, file);
         fclose(file);
      }
      free(texts[i].pData);
   }
}

static void write_pipeline(VkDevice device, VkPipeline pipeline, const VkComputePipelineCreateInfo *info) {
   static int count;
   struct known *known = remember(&pipelines, (uint64_t)pipeline);
   known->number = count++;
   char entry[VK_MAX_DESCRIPTION_SIZE];
   fprintf(output(), "{\"pipeline\":\"%d-%d\",\"entry\":\"%s\"", getpid(), known->number,
           plain(entry, sizeof entry, info->stage.pName));
   struct known *module = find(modules, (uint64_t)info->stage.module);
   if (module)
      fprintf(output(), ",\"spirv_bytes\":%u,\"workgroup_size\":%u", module->words * 4,
              module->local[0] * module->local[1] * module->local[2]);
   VkPipelineInfoKHR which = {VK_STRUCTURE_TYPE_PIPELINE_INFO_KHR, NULL, pipeline};
   VkPipelineExecutablePropertiesKHR properties = {VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_PROPERTIES_KHR};
   uint32_t one = 1;
   // a compute pipeline is one executable
   if (next.GetPipelineExecutablePropertiesKHR(device, &which, &one, &properties) >= 0 && one == 1) {
      VkPipelineExecutableInfoKHR first = {VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_INFO_KHR, NULL, pipeline, 0};
      fprintf(output(), ",\"subgroup_size\":%u,\"statistics\":{", properties.subgroupSize);
      write_statistics(device, &first);
      fprintf(output(), "}");
      if (getenv("GAUGE_DIR")) write_listings(device, &first, known->number);
   }
   fprintf(output(), "}\n");
   fflush(output());
}

API(VkResult) CreateComputePipelines(VkDevice device, VkPipelineCache cache, uint32_t count,
                                     const VkComputePipelineCreateInfo *infos, Allocator a, VkPipeline *made) {
   VkComputePipelineCreateInfo *copies = malloc(count * sizeof *copies);
   memcpy(copies, infos, count * sizeof *copies);
   for (uint32_t i = 0; i < count; i++)
      copies[i].flags |= VK_PIPELINE_CREATE_CAPTURE_STATISTICS_BIT_KHR |
                         VK_PIPELINE_CREATE_CAPTURE_INTERNAL_REPRESENTATIONS_BIT_KHR;
   // no cache: what comes from one has no listing
   VkResult result = next.CreateComputePipelines(device, VK_NULL_HANDLE, count, copies, a, made);
   free(copies);
   pthread_mutex_lock(&lock);
   for (uint32_t i = 0; i < count && result == VK_SUCCESS; i++) write_pipeline(device, made[i], &infos[i]);
   pthread_mutex_unlock(&lock);
   return result;
}

// ---- a device without hardware: commands

static __thread uint64_t bound;

API(void) CmdBindPipeline(VkCommandBuffer c, VkPipelineBindPoint point, VkPipeline pipeline) {
   if (point == VK_PIPELINE_BIND_POINT_COMPUTE) bound = (uint64_t)pipeline;
}
API(void) CmdDispatch(VkCommandBuffer c, uint32_t x, uint32_t y, uint32_t z) {
   pthread_mutex_lock(&lock);
   struct known *known = find(pipelines, bound);
   if (known) {
      fprintf(output(), "{\"dispatch\":\"%d-%d\",\"workgroups\":[%u,%u,%u]}\n", getpid(), known->number, x, y, z);
      fflush(output());
   }
   pthread_mutex_unlock(&lock);
}
API(VkResult) BeginCommandBuffer(VkCommandBuffer c, const VkCommandBufferBeginInfo *i) { return VK_SUCCESS; }
API(VkResult) EndCommandBuffer(VkCommandBuffer c) { return VK_SUCCESS; }
API(VkResult) ResetCommandBuffer(VkCommandBuffer c, VkCommandBufferResetFlags f) { return VK_SUCCESS; }
// Commands are functions without result, called by the caller's convention: one that does nothing serves all.
API(void) no_command(void) {}

// ---- a device without hardware: work is done when it is submitted

struct semaphore { uint64_t value; };
#define SEMAPHORE(handle) ((struct semaphore *)(uintptr_t)(handle))

API(VkResult) CreateSemaphore(VkDevice d, const VkSemaphoreCreateInfo *info, Allocator a, VkSemaphore *made) {
   struct semaphore *semaphore = calloc(1, sizeof *semaphore);
   for (const VkBaseInStructure *more = info->pNext; more; more = more->pNext)
      if (more->sType == VK_STRUCTURE_TYPE_SEMAPHORE_TYPE_CREATE_INFO)
         semaphore->value = ((const VkSemaphoreTypeCreateInfo *)more)->initialValue;
   *made = (VkSemaphore)(uintptr_t)semaphore;
   return VK_SUCCESS;
}
API(void) DestroySemaphore(VkDevice d, VkSemaphore s, Allocator a) { free(SEMAPHORE(s)); }
API(VkResult) GetSemaphoreCounterValue(VkDevice d, VkSemaphore s, uint64_t *value) {
   *value = SEMAPHORE(s)->value;
   return VK_SUCCESS;
}
API(VkResult) WaitSemaphores(VkDevice d, const VkSemaphoreWaitInfo *w, uint64_t timeout) { return VK_SUCCESS; }
API(VkResult) SignalSemaphore(VkDevice d, const VkSemaphoreSignalInfo *i) {
   SEMAPHORE(i->semaphore)->value = i->value;
   return VK_SUCCESS;
}
API(VkResult) CreateFence(VkDevice d, const VkFenceCreateInfo *i, Allocator a, VkFence *made) {
   *made = (VkFence)(uintptr_t)calloc(1, sizeof(struct semaphore));
   return VK_SUCCESS;
}
API(void) DestroyFence(VkDevice d, VkFence f, Allocator a) { free(SEMAPHORE(f)); }
API(VkResult) ResetFences(VkDevice d, uint32_t n, const VkFence *f) { return VK_SUCCESS; }
API(VkResult) GetFenceStatus(VkDevice d, VkFence f) { return VK_SUCCESS; }
API(VkResult) WaitForFences(VkDevice d, uint32_t n, const VkFence *f, VkBool32 all, uint64_t t) { return VK_SUCCESS; }
API(VkResult) QueueSubmit(VkQueue q, uint32_t count, const VkSubmitInfo *submits, VkFence f) {
   for (uint32_t i = 0; i < count; i++)
      for (const VkBaseInStructure *more = submits[i].pNext; more; more = more->pNext) {
         if (more->sType != VK_STRUCTURE_TYPE_TIMELINE_SEMAPHORE_SUBMIT_INFO) continue;
         const VkTimelineSemaphoreSubmitInfo *timeline = (const void *)more;
         for (uint32_t k = 0; k < timeline->signalSemaphoreValueCount && k < submits[i].signalSemaphoreCount; k++) {
            struct semaphore *semaphore = SEMAPHORE(submits[i].pSignalSemaphores[k]);
            if (timeline->pSignalSemaphoreValues[k] > semaphore->value)
               semaphore->value = timeline->pSignalSemaphoreValues[k];
         }
      }
   return VK_SUCCESS;
}
API(VkResult) QueueWaitIdle(VkQueue q) { return VK_SUCCESS; }
API(VkResult) DeviceWaitIdle(VkDevice d) { return VK_SUCCESS; }

// ---- a device without hardware: RADV's has no memory types, so it gets one that serves for everything

static void offer_memory(VkPhysicalDeviceMemoryProperties *memory) {
   if (memory->memoryTypeCount) return;
   memory->memoryTypeCount = memory->memoryHeapCount = 1;
   memory->memoryTypes[0] = (VkMemoryType){
      VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT | VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT |
      VK_MEMORY_PROPERTY_HOST_CACHED_BIT, 0};
   memory->memoryHeaps[0] = (VkMemoryHeap){16ull << 30, VK_MEMORY_HEAP_DEVICE_LOCAL_BIT};
}
API(void) GetPhysicalDeviceMemoryProperties(VkPhysicalDevice p, VkPhysicalDeviceMemoryProperties *memory) {
   next.GetPhysicalDeviceMemoryProperties(p, memory);
   offer_memory(memory);
}
API(void) GetPhysicalDeviceMemoryProperties2(VkPhysicalDevice p, VkPhysicalDeviceMemoryProperties2 *memory) {
   next.GetPhysicalDeviceMemoryProperties2(p, memory);
   offer_memory(&memory->memoryProperties);
}
API(void) GetBufferMemoryRequirements(VkDevice d, VkBuffer b, VkMemoryRequirements *needs) {
   next.GetBufferMemoryRequirements(d, b, needs);
   needs->memoryTypeBits |= 1;
}
API(void) GetBufferMemoryRequirements2(VkDevice d, const VkBufferMemoryRequirementsInfo2 *b, VkMemoryRequirements2 *n) {
   next.GetBufferMemoryRequirements2(d, b, n);
   n->memoryRequirements.memoryTypeBits |= 1;
}
API(void) GetImageMemoryRequirements(VkDevice d, VkImage i, VkMemoryRequirements *needs) {
   next.GetImageMemoryRequirements(d, i, needs);
   needs->memoryTypeBits |= 1;
}
API(void) GetImageMemoryRequirements2(VkDevice d, const VkImageMemoryRequirementsInfo2 *i, VkMemoryRequirements2 *n) {
   next.GetImageMemoryRequirements2(d, i, n);
   n->memoryRequirements.memoryTypeBits |= 1;
}

// ---- the chain of layers

static void *link_of(const void *chain, VkStructureType type) {
   // both links have the same first members
   for (VkLayerDeviceCreateInfo *link = (void *)chain; link; link = (void *)link->pNext)
      if (link->sType == type && link->function == VK_LAYER_LINK_INFO) return link;
   return NULL;
}

API(VkResult) CreateInstance(const VkInstanceCreateInfo *info, Allocator a, VkInstance *made) {
   VkLayerInstanceCreateInfo *link = link_of(info->pNext, VK_STRUCTURE_TYPE_LOADER_INSTANCE_CREATE_INFO);
   if (!link) return VK_ERROR_INITIALIZATION_FAILED;
   next_instance = link->u.pLayerInfo->pfnNextGetInstanceProcAddr;
   link->u.pLayerInfo = link->u.pLayerInfo->pNext;
   VkResult result = ((PFN_vkCreateInstance)next_instance(NULL, "vkCreateInstance"))(info, a, made);
   if (result != VK_SUCCESS) return result;
   the_instance = *made;
   // now, since later the loader's table leads back here
#define INSTANCE(name) next.name = (void *)next_instance(*made, "vk" #name)
   INSTANCE(GetPhysicalDeviceMemoryProperties);
   INSTANCE(GetPhysicalDeviceMemoryProperties2);
   if (!next.GetPhysicalDeviceMemoryProperties2)
      next.GetPhysicalDeviceMemoryProperties2 = (void *)next_instance(*made, "vkGetPhysicalDeviceMemoryProperties2KHR");
   return result;
}

static void leave_unchecked(const VkDeviceCreateInfo *info) {
   if (info->pEnabledFeatures) ((VkPhysicalDeviceFeatures *)info->pEnabledFeatures)->robustBufferAccess = VK_FALSE;
   for (VkBaseOutStructure *more = (void *)info->pNext; more; more = more->pNext) {
      if (more->sType == VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2)
         ((VkPhysicalDeviceFeatures2 *)more)->features.robustBufferAccess = VK_FALSE;
      if (more->sType == VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_ROBUSTNESS_2_FEATURES_EXT)
         ((VkPhysicalDeviceRobustness2FeaturesEXT *)more)->robustBufferAccess2 = VK_FALSE;
   }
}

API(VkResult) CreateDevice(VkPhysicalDevice p, const VkDeviceCreateInfo *info, Allocator a, VkDevice *made) {
   VkLayerDeviceCreateInfo *link = link_of(info->pNext, VK_STRUCTURE_TYPE_LOADER_DEVICE_CREATE_INFO);
   if (!link) return VK_ERROR_INITIALIZATION_FAILED;
   PFN_vkGetInstanceProcAddr instance = link->u.pLayerInfo->pfnNextGetInstanceProcAddr;
   next_device = link->u.pLayerInfo->pfnNextGetDeviceProcAddr;
   link->u.pLayerInfo = link->u.pLayerInfo->pNext;
   if (is_set("GAUGE_UNCHECKED")) leave_unchecked(info);
   const char **extensions = malloc((info->enabledExtensionCount + 1) * sizeof *extensions);
   memcpy(extensions, info->ppEnabledExtensionNames, info->enabledExtensionCount * sizeof *extensions);
   extensions[info->enabledExtensionCount] = VK_KHR_PIPELINE_EXECUTABLE_PROPERTIES_EXTENSION_NAME;
   VkPhysicalDevicePipelineExecutablePropertiesFeaturesKHR feature = {
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PIPELINE_EXECUTABLE_PROPERTIES_FEATURES_KHR, (void *)info->pNext, VK_TRUE};
   VkDeviceCreateInfo copy = *info;
   copy.pNext = &feature;
   copy.enabledExtensionCount++;
   copy.ppEnabledExtensionNames = extensions;
   VkResult result = ((PFN_vkCreateDevice)instance(the_instance, "vkCreateDevice"))(p, &copy, a, made);
   free(extensions);
   if (result != VK_SUCCESS) return result;
#define DEVICE(name) next.name = (void *)next_device(*made, "vk" #name)
   DEVICE(CreateShaderModule);
   DEVICE(CreateComputePipelines);
   DEVICE(GetPipelineExecutablePropertiesKHR);
   DEVICE(GetPipelineExecutableStatisticsKHR);
   DEVICE(GetPipelineExecutableInternalRepresentationsKHR);
   DEVICE(GetBufferMemoryRequirements);
   DEVICE(GetBufferMemoryRequirements2);
   DEVICE(GetImageMemoryRequirements);
   DEVICE(GetImageMemoryRequirements2);
   return result;
}

static PFN_vkVoidFunction of_instance(VkInstance instance, const char *name);
static PFN_vkVoidFunction of_device(VkDevice device, const char *name);

#define OWN(name) if (!strcmp(asked, "vk" #name)) return (PFN_vkVoidFunction)name
#define OWN_KHR(name) OWN(name); if (!strcmp(asked, "vk" #name "KHR")) return (PFN_vkVoidFunction)name

static PFN_vkVoidFunction own_of_device(const char *asked) {
   OWN(CreateShaderModule); OWN(CreateComputePipelines);
   if (!is_set("GAUGE_NULL_DEVICE")) return NULL;
   OWN(CmdBindPipeline); OWN(CmdDispatch);
   OWN(BeginCommandBuffer); OWN(EndCommandBuffer); OWN(ResetCommandBuffer);
   if (!strncmp(asked, "vkCmd", 5)) return (PFN_vkVoidFunction)no_command;
   OWN(CreateSemaphore); OWN(DestroySemaphore);
   OWN_KHR(GetSemaphoreCounterValue); OWN_KHR(WaitSemaphores); OWN_KHR(SignalSemaphore);
   OWN(CreateFence); OWN(DestroyFence); OWN(ResetFences); OWN(GetFenceStatus); OWN(WaitForFences);
   OWN(QueueSubmit); OWN(QueueWaitIdle); OWN(DeviceWaitIdle);
   OWN(GetBufferMemoryRequirements); OWN(GetImageMemoryRequirements);
   OWN_KHR(GetBufferMemoryRequirements2); OWN_KHR(GetImageMemoryRequirements2);
   return NULL;
}

static PFN_vkVoidFunction own_of_instance(const char *asked) {
   OWN(CreateInstance); OWN(CreateDevice);
   if (!is_set("GAUGE_NULL_DEVICE")) return NULL;
   OWN(GetPhysicalDeviceMemoryProperties); OWN_KHR(GetPhysicalDeviceMemoryProperties2);
   return NULL;
}

static PFN_vkVoidFunction of_device(VkDevice device, const char *name) {
   if (!strcmp(name, "vkGetDeviceProcAddr")) return (PFN_vkVoidFunction)of_device;
   PFN_vkVoidFunction own = own_of_device(name);
   return own ? own : next_device(device, name);
}

static PFN_vkVoidFunction of_instance(VkInstance instance, const char *name) {
   if (!strcmp(name, "vkGetInstanceProcAddr")) return (PFN_vkVoidFunction)of_instance;
   if (!strcmp(name, "vkGetDeviceProcAddr")) return (PFN_vkVoidFunction)of_device;
   PFN_vkVoidFunction own = own_of_instance(name);
   return own ? own : next_instance(instance, name);
}

VKAPI_ATTR VkResult VKAPI_CALL vkNegotiateLoaderLayerInterfaceVersion(VkNegotiateLayerInterface *version) {
   version->loaderLayerInterfaceVersion = 2;
   version->pfnGetInstanceProcAddr = of_instance;
   version->pfnGetDeviceProcAddr = of_device;
   version->pfnGetPhysicalDeviceProcAddr = NULL;
   return VK_SUCCESS;
}
