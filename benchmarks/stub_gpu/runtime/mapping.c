/* Memory that is given to reserved addresses piece by piece, by functions of the driver.
 *
 * PyTorch asks the runtime for them, and uses them with expandable_segments:True. */
#include "stub.h"

#include <stdlib.h>
#include <string.h>

enum { SUCCESS = 0, OUT_OF_MEMORY = 2, NOT_SUPPORTED = 801, PIECE = 2 << 20 };

static int reserve(void **start, size_t size) {
  *start = stub_reserve(size);
  return *start != NULL ? SUCCESS : OUT_OF_MEMORY;
}

static int unreserve(void *start) {
  stub_release(start);
  return SUCCESS;
}

/* A piece of memory is known by where its size stands. */
static int create(size_t **piece, size_t size) {
  if (!stub_take_bytes(size)) return OUT_OF_MEMORY;
  *piece = malloc(sizeof **piece);
  **piece = size;
  return SUCCESS;
}

static int release(size_t *piece) {
  stub_give_bytes_back(*piece);
  free(piece);
  return SUCCESS;
}

static int granularity(size_t *size) {
  *size = PIECE;
  return SUCCESS;
}

/* Memory can be mapped; everything else that PyTorch asks about, such as fabrics, is not there. */
static int attribute(int *value, int name) {
  enum { VIRTUAL_MEMORY_MANAGEMENT = 102 };
  *value = name == VIRTUAL_MEMORY_MANAGEMENT;
  return SUCCESS;
}

static int device(int *value) {
  *value = 0;
  return SUCCESS;
}

static int error_string(int error, const char **text) {
  *text = error == OUT_OF_MEMORY ? "out of memory" : "the stub of a GPU cannot do this";
  return SUCCESS;
}

static int nothing(void) { return SUCCESS; }
static int refuse(void) { return NOT_SUPPORTED; }

static const struct { const char *name; void *function; } functions[] = {
    {"cuDeviceGet", device},
    {"cuDeviceGetAttribute", attribute},
    {"cuGetErrorString", error_string},
    {"cuMemAddressReserve", reserve},
    {"cuMemAddressFree", unreserve},
    {"cuMemCreate", create},
    {"cuMemRelease", release},
    {"cuMemMap", nothing},
    {"cuMemUnmap", nothing},
    {"cuMemSetAccess", nothing},
    {"cuMemGetAllocationGranularity", granularity},
};

void *stub_driver_function(const char *name) {
  for (size_t i = 0; i < sizeof functions / sizeof *functions; i++)
    if (strcmp(functions[i].name, name) == 0) return functions[i].function;
  return strncmp(name, "cu", 2) == 0 ? (void *)refuse : NULL;
}
