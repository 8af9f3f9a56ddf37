/* Memory: addresses are reserved and counted, but nothing is stored on the device. */
#define _GNU_SOURCE
#include "stub.h"

#include <pthread.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

_Atomic long stub_fills, stub_device_copies, stub_reads, stub_pageable_copies, stub_uploaded_bytes;

/* What was allocated, on the device and as pinned memory of the host. */
typedef enum { UNKNOWN, DEVICE, HOST } Place;
typedef struct { char *start; size_t size; Place place; } Block;
enum { MOST_BLOCKS = 65536 };
static Block blocks[MOST_BLOCKS];
static long number_of_blocks;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static int note(void *start, size_t size, Place place) {
  long i = 0;
  pthread_mutex_lock(&lock);
  while (i < number_of_blocks && blocks[i].start != NULL) i++;
  int fits = i < MOST_BLOCKS;
  if (fits) {
    blocks[i] = (Block){start, size, place};
    if (i == number_of_blocks) number_of_blocks++;
  }
  pthread_mutex_unlock(&lock);
  return fits;
}

/* Forget the block that begins here, and return its size (0 if there is none). */
static size_t forget(const void *start) {
  size_t size = 0;
  pthread_mutex_lock(&lock);
  for (long i = 0; start != NULL && i < number_of_blocks; i++) {
    if (blocks[i].start != start) continue;
    size = blocks[i].size;
    blocks[i].start = NULL;
    break;
  }
  pthread_mutex_unlock(&lock);
  return size;
}

static Place place_of(const void *address) {
  Place place = UNKNOWN; /* pageable memory of the host */
  pthread_mutex_lock(&lock);
  for (long i = 0; i < number_of_blocks && place == UNKNOWN; i++) {
    const char *start = blocks[i].start;
    int is_inside = start != NULL && (const char *)address >= start;
    if (is_inside && (const char *)address < start + blocks[i].size) place = blocks[i].place;
  }
  pthread_mutex_unlock(&lock);
  return place;
}

static _Atomic size_t used_bytes; /* of the device */

int stub_take_bytes(size_t size) {
  used_bytes += size;
  if (used_bytes <= stub_usable_bytes()) return 1;
  used_bytes -= size;
  return 0;
}

void stub_give_bytes_back(size_t size) { used_bytes -= size; }

/* Reserve addresses; the system gives them memory only where somebody writes. */
static void *reserve(size_t size, Place place) {
  int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
  size = size > 0 ? size : 1;
  void *start = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, -1, 0);
  if (start == MAP_FAILED) return NULL;
  if (note(start, size, place)) return start;
  munmap(start, size);
  return NULL;
}

void *stub_reserve(size_t size) { return reserve(size, DEVICE); }

size_t stub_release(void *start) {
  size_t size = forget(start);
  if (size > 0) munmap(start, size);
  return size;
}

int cudaMalloc(void **start, size_t size) {
  *start = NULL;
  if (!stub_take_bytes(size)) return cudaErrorMemoryAllocation;
  *start = stub_reserve(size);
  if (*start != NULL) return cudaSuccess;
  stub_give_bytes_back(size);
  return cudaErrorMemoryAllocation;
}

int cudaFree(void *start) {
  stub_waits++; /* until nothing uses it any more */
  stub_give_bytes_back(stub_release(start));
  return cudaSuccess;
}

int cudaHostAlloc(void **start, size_t size) {
  *start = reserve(size, HOST);
  return *start != NULL ? cudaSuccess : cudaErrorMemoryAllocation;
}

int cudaFreeHost(void *start) {
  stub_release(start);
  return cudaSuccess;
}

int cudaMallocAsync(void **start, size_t size) { return cudaMalloc(start, size); }
int cudaFreeAsync(void *start) { return cudaFree(start); }

int cudaHostRegister(void *start, size_t size) {
  return note(start, size, HOST) ? cudaSuccess : cudaErrorMemoryAllocation;
}

int cudaHostUnregister(void *start) {
  forget(start);
  return cudaSuccess;
}

int cudaMemGetInfo(size_t *free_bytes, size_t *total) {
  *total = stub_total_bytes();
  *free_bytes = stub_usable_bytes() - used_bytes;
  return cudaSuccess;
}

int cudaPointerGetAttributes(struct cudaPointerAttributes *attributes, void *address) {
  Place place = place_of(address);
  memset(attributes, 0, sizeof *attributes);
  attributes->type = place == DEVICE ? cudaMemoryTypeDevice
                     : place == HOST ? cudaMemoryTypeHost
                                     : cudaMemoryTypeUnregistered;
  attributes->device = place == UNKNOWN ? cudaInvalidDeviceId : 0;
  if (place != UNKNOWN) attributes->devicePointer = address;
  if (place != DEVICE) attributes->hostPointer = address;
  return cudaSuccess;
}

/* Make up what the host reads: 1 in every 8 bytes, 0 in what is left. A decision that the host
 * waits for is then taken ("guidance runs"), every index is valid ("source crop 1"), and the one
 * value of a float or a bool is 0 ("no gradient overflowed"). */
static void answer(void *host, size_t size) {
  const int64_t one = 1;
  size_t i = 0;
  for (; i + sizeof one <= size; i += sizeof one) memcpy((char *)host + i, &one, sizeof one);
  memset((char *)host + i, 0, size - i);
}

static enum cudaMemcpyKind kind_of(const void *to, const void *from, enum cudaMemcpyKind kind) {
  if (kind != cudaMemcpyDefault) return kind;
  if (place_of(to) == DEVICE)
    return place_of(from) == DEVICE ? cudaMemcpyDeviceToDevice : cudaMemcpyHostToDevice;
  return place_of(from) == DEVICE ? cudaMemcpyDeviceToHost : cudaMemcpyHostToHost;
}

int cudaMemcpyAsync(void *to, const void *from, size_t size, enum cudaMemcpyKind kind) {
  kind = kind_of(to, from, kind);
  if (kind == cudaMemcpyHostToDevice) {
    stub_uploaded_bytes += (long)size;
    stub_pageable_copies += place_of(from) != HOST;
  } else if (kind == cudaMemcpyDeviceToHost) {
    stub_reads++;
    stub_pageable_copies += place_of(to) != HOST;
    answer(to, size);
  } else if (kind == cudaMemcpyDeviceToDevice) {
    stub_device_copies++;
  } else {
    memmove(to, from, size);
  }
  return cudaSuccess;
}

int cudaMemcpy(void *to, const void *from, size_t size, enum cudaMemcpyKind kind) {
  stub_waits++;
  return cudaMemcpyAsync(to, from, size, kind);
}

int cudaMemset(void) {
  stub_fills++;
  return cudaSuccess;
}

int cudaMemsetAsync(void) { return cudaMemset(); }

/* Constants of kernels. */
static char constants[1 << 20];
int cudaMemcpyToSymbol(void) { return cudaSuccess; }

int cudaGetSymbolAddress(void **address) {
  *address = constants;
  return cudaSuccess;
}
