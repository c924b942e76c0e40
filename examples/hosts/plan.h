// What a host needs beside WebGPU: the plan as JSON, checked, and its buffers from and to .npy files.
#pragma once
#include <cjson/cJSON.h>
#include <ctype.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void fail(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  fputs("host: ", stderr);
  vfprintf(stderr, format, arguments);
  fputc('\n', stderr);
  exit(1);
}
static void *zeros(size_t count, size_t size) {
  void *memory = calloc(count ? count : 1, size);
  if (!memory) fail("no memory for %zu times %zu bytes", count, size);
  return memory;
}
// a whole file, with a zero behind it
static char *read_file(const char *path, size_t *size) {
  FILE *file = fopen(path, "rb");
  long end = file && !fseek(file, 0, SEEK_END) ? ftell(file) : -1;
  if (end < 0 || end == __LONG_MAX__) fail("%s cannot be read", path);
  rewind(file);
  char *content = zeros((size_t)end + 1, 1);
  if (fread(content, 1, (size_t)end, file) != (size_t)end) fail("%s cannot be read", path);
  fclose(file);
  *size = (size_t)end;
  return content;
}

enum { BOOLEAN = cJSON_True | cJSON_False };
static cJSON *member(const cJSON *object, const char *name, int type) {
  cJSON *value = cJSON_GetObjectItemCaseSensitive(object, name);
  if (!value || !(value->type & type)) fail("the plan lacks '%s', or has it of another type", name);
  return value;
}
static cJSON *list(const cJSON *object, const char *name) { return member(object, name, cJSON_Array); }
static const char *string(const cJSON *object, const char *name) {
  return member(object, name, cJSON_String)->valuestring;
}
static uint64_t whole(const cJSON *number, const char *name) {
  double value = cJSON_IsNumber(number) ? number->valuedouble : -1;
  if (!(value >= 0 && value < 9e15) || value != (double)(uint64_t)value)
    fail("the plan has a '%s' that is no whole number", name);
  return (uint64_t)value;
}
static uint64_t number(const cJSON *object, const char *name) {
  return whole(member(object, name, cJSON_Number), name);
}
// a number that counts the members of a list
static int place(const cJSON *object, const char *name, const cJSON *among) {
  uint64_t index = number(object, name);
  int count = cJSON_GetArraySize(among);
  if (index >= (uint64_t)count) fail("the plan has a '%s' %llu, of %d", name, (unsigned long long)index, count);
  return (int)index;
}

// A .npy file's dictionary as NumPy writes it, and how many bytes follow it.
typedef struct {
  char text[400];
  uint64_t bytes;
} Header;

static Header npy_header(const char *element, const cJSON *shape) {
  static const char *const types[][2] = {{"f32", "<f4"}, {"f16", "<f2"}, {"bf16", "<V2"}, {"byte", "|u1"}};
  size_t type = 0;
  while (type < 4 && strcmp(types[type][0], element)) type++;
  if (type == 4) fail("elements of type '%s' are unknown here", element);
  Header header = {.bytes = (uint64_t)(types[type][1][2] - '0')};
  char sizes[300] = "";
  if (cJSON_GetArraySize(shape) > 12) fail("the plan has a tensor of more than 12 axes");
  const cJSON *axis;
  cJSON_ArrayForEach(axis, shape) {
    size_t used = strlen(sizes);
    uint64_t size = whole(axis, "shape");
    snprintf(sizes + used, sizeof sizes - used, used ? " %llu," : "%llu,", (unsigned long long)size);
    header.bytes *= size;
  }
  if (cJSON_GetArraySize(shape) > 1) sizes[strlen(sizes) - 1] = 0;
  const char *dictionary = "{'descr': '%s', 'fortran_order': False, 'shape': (%s), }";
  snprintf(header.text, sizeof header.text, dictionary, types[type][1], sizes);
  return header;
}
// The content of a file that has to have this header, but for blanks; `name` is for messages.
static void npy_load(const char *name, const char *path, const Header *header, char *content) {
  size_t size, length = 0, used = 0;
  char *file = read_file(path, &size);
  if (size < 12 || memcmp(file, "\x93NUMPY", 6)) fail("%s: %s is no .npy file", name, path);
  size_t prefix = file[6] == 1 ? 10 : 12;
  for (size_t i = prefix; i-- > 8;) length = length << 8 | (unsigned char)file[i];
  if (length > size - prefix) fail("%s: %s ends in its header", name, path);
  char *found = zeros(length + 1, 1), *wanted = zeros(sizeof header->text, 1);
  for (size_t i = 0; i < length; i++)
    if (!isspace((unsigned char)file[prefix + i])) found[used++] = file[prefix + i];
  used = 0;
  for (const char *from = header->text; *from; from++)
    if (!isspace((unsigned char)*from)) wanted[used++] = *from;
  if (strcmp(found, wanted)) fail("%s: %s has %s, the plan %s", name, path, found, wanted);
  const char *rest = file + prefix + length;
  size_t bytes = size - prefix - length;
  if (bytes != header->bytes)
    fail("%s: %s has %zu bytes of elements, not %llu", name, path, bytes, (unsigned long long)header->bytes);
  memcpy(content, rest, bytes);
  free(found);
  free(wanted);
  free(file);
}
// The file is whole, or as it was.
static void npy_save(const char *path, const Header *header, const void *content) {
  char *part = zeros(strlen(path) + 6, 1);
  sprintf(part, "%s.part", path);
  FILE *file = fopen(part, "wb");
  if (!file) fail("%s cannot be written", part);
  // elements begin at a multiple of 64
  int length = (10 + (int)strlen(header->text) + 1 + 63) / 64 * 64 - 10;
  fprintf(file, "\x93NUMPY%c%c%c%c%-*s\n", 1, 0, length & 255, length >> 8, length - 1, header->text);
  bool failed = fwrite(content, 1, header->bytes, file) != header->bytes || ferror(file);
  if (fclose(file) || failed || rename(part, path)) {
    remove(part);
    fail("%s cannot be written", path);
  }
  free(part);
}

typedef struct {
  const char *name, *target; // the file that it goes to
  uint64_t size;
  Header header;
  char *content; // at first
  bool is_given, is_written;
} Buffer;

static Buffer *buffers;
static size_t buffer_count;
static bool has_subgroups;

static Buffer *find(const char *name) {
  for (size_t i = 0; i < buffer_count; i++)
    if (!strcmp(buffers[i].name, name)) return &buffers[i];
  return NULL;
}
// The longest of those of one name, and whether a dispatch writes it.
static void collect(const cJSON *recipe) {
  const cJSON *each, *binding, *all = list(recipe, "buffers");
  cJSON_ArrayForEach(each, all) {
    Buffer *known = find(string(each, "name"));
    if (!known) {
      buffers = realloc(buffers, (buffer_count + 1) * sizeof *buffers);
      if (!buffers) fail("no memory");
      known = &buffers[buffer_count++];
      *known = (Buffer){.name = string(each, "name")};
    }
    uint64_t size = (number(each, "size") + 3) / 4 * 4;
    if (size > known->size) known->size = size;
  }
  cJSON_ArrayForEach(each, list(recipe, "dispatches")) cJSON_ArrayForEach(binding, list(each, "bindings")) {
    if (strcmp(string(binding, "access"), "read_write")) continue;
    find(string(cJSON_GetArrayItem(all, place(binding, "buffer", all)), "name"))->is_written = true;
  }
}
static void shape(const cJSON *tensor) {
  Buffer *buffer = find(string(tensor, "name"));
  if (!buffer) return; // no recipe has it
  Header header = npy_header(string(tensor, "element"), list(tensor, "shape"));
  if (buffer->header.text[0] && strcmp(buffer->header.text, header.text))
    fail("%s is %s here and %s there: plan one norm", buffer->name, buffer->header.text, header.text);
  if (header.bytes > buffer->size) fail("%s is longer than its buffer", buffer->name);
  buffer->header = header;
}
// `input=x.npy`
static Buffer *named(char *argument, const char **file) {
  char *equals = strchr(argument, '=');
  if (!equals) fail("'%s' is not NAME=FILE", argument);
  *equals = 0, *file = equals + 1;
  Buffer *buffer = find(argument);
  if (buffer) return buffer;
  char known[1000] = "";
  for (size_t i = 0; i < buffer_count; i++) {
    size_t used = strlen(known);
    snprintf(known + used, sizeof known - used, " '%s'", buffers[i].name);
  }
  fail("the plan has no buffer '%s'; it has%s", argument, known);
  return NULL;
}


static const cJSON *read_plan(const char *path) {
  size_t size;
  const cJSON *plan = cJSON_Parse(read_file(path, &size)), *each, *inner;
  if (!cJSON_IsArray(plan)) fail("%s is no JSON of `wgpu-norm plan`", path);
  cJSON_ArrayForEach(each, plan) cJSON_ArrayForEach(inner, list(each, "recipes")) {
    uint64_t version = number(inner, "version");
    if (version != 1) fail("a recipe of version %llu: this host knows version 1", (unsigned long long)version);
    collect(inner);
    const cJSON *kernel;
    cJSON_ArrayForEach(kernel, list(inner, "kernels"))
      has_subgroups |= cJSON_IsTrue(member(kernel, "subgroups", BOOLEAN));
  }
  cJSON_ArrayForEach(each, plan) cJSON_ArrayForEach(inner, list(each, "tensors")) shape(inner);
  for (Buffer *buffer = buffers; buffer < buffers + buffer_count; buffer++) {
    if (!buffer->header.text[0]) { // moments, a workspace: bytes
      cJSON *bytes = cJSON_CreateArray();
      cJSON_AddItemToArray(bytes, cJSON_CreateNumber((double)buffer->size));
      buffer->header = npy_header("byte", bytes);
    }
    buffer->content = zeros(buffer->size, 1);
  }
  return plan;
}
// Loads the files before `--`, and notes where results go.
static void read_files(int count, char **arguments) {
  bool is_output = false;
  for (int i = 0; i < count; i++) {
    if (!strcmp(arguments[i], "--")) {
      is_output = true;
      continue;
    }
    const char *file;
    Buffer *buffer = named(arguments[i], &file);
    if (is_output) buffer->target = file;
    else npy_load(buffer->name, file, &buffer->header, buffer->content), buffer->is_given = true;
  }
  for (Buffer *buffer = buffers; buffer < buffers + buffer_count; buffer++)
    if (!buffer->is_given && !buffer->is_written) fail("the plan reads '%s', and no file gives it", buffer->name);
}
