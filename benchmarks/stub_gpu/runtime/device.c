/* The device: like an H100, or as the environment says. */
#include "stub.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { VERSION = 13000, MULTIPROCESSORS = 132, THREADS = 2048, BLOCK_MEMORY = 49152 };
/* Of a CUDA context. */
static const size_t CONTEXT_BYTES = 500ul << 20;

long stub_setting(const char *name, long usual) {
  const char *value = getenv(name);
  return value != NULL ? atol(value) : usual;
}

size_t stub_total_bytes(void) { return (size_t)stub_setting("STUB_GPU_MEMORY_MIB", 81559) << 20; }
size_t stub_usable_bytes(void) { return stub_total_bytes() - CONTEXT_BYTES; }

/* Shared memory that a block may ask for: decides between kernels for attention. */
static int largest_block_memory(long capability) {
  if (capability >= 90) return 232448;
  if (capability >= 86) return 101376;
  return capability >= 80 ? 166912 : 65536;
}

int cudaGetDeviceCount(int *count) {
  *count = 1;
  return cudaSuccess;
}

int cudaGetDevice(int *device) {
  *device = 0;
  return cudaSuccess;
}

int cudaSetDevice(int device) { return device == 0 ? cudaSuccess : cudaErrorInvalidDevice; }

int cudaDriverGetVersion(int *version) {
  *version = VERSION;
  return cudaSuccess;
}

int cudaRuntimeGetVersion(int *version) { return cudaDriverGetVersion(version); }

int cudaGetDeviceProperties(struct cudaDeviceProp *p) {
  long capability = stub_setting("STUB_GPU_CAPABILITY", 90);
  memset(p, 0, sizeof *p);
  strcpy(p->name, "stub of a GPU");
  p->major = (int)(capability / 10);
  p->minor = (int)(capability % 10);
  p->totalGlobalMem = stub_total_bytes();
  p->multiProcessorCount = MULTIPROCESSORS;
  p->sharedMemPerBlock = BLOCK_MEMORY;
  p->sharedMemPerBlockOptin = largest_block_memory(capability);
  p->sharedMemPerMultiprocessor = p->sharedMemPerBlockOptin + 1024;
  p->regsPerBlock = p->regsPerMultiprocessor = 65536;
  p->warpSize = 32;
  p->maxThreadsPerBlock = p->maxThreadsDim[0] = p->maxThreadsDim[1] = 1024;
  p->maxThreadsDim[2] = 64;
  p->maxThreadsPerMultiProcessor = THREADS;
  p->maxBlocksPerMultiProcessor = 32;
  p->maxGridSize[0] = 2147483647;
  p->maxGridSize[1] = p->maxGridSize[2] = 65535;
  p->l2CacheSize = 50 << 20;
  p->memoryBusWidth = 5120;
  p->memPitch = 2147483647;
  p->totalConstMem = 65536;
  p->textureAlignment = 512;
  p->unifiedAddressing = p->concurrentKernels = 1;
  p->asyncEngineCount = 3;
  return cudaSuccess;
}

static int attribute(enum cudaDeviceAttr name) {
  struct cudaDeviceProp p;
  cudaGetDeviceProperties(&p);
  switch (name) {
    case cudaDevAttrMaxThreadsPerBlock: return p.maxThreadsPerBlock;
    case cudaDevAttrMaxBlockDimX: return p.maxThreadsDim[0];
    case cudaDevAttrMaxBlockDimY: return p.maxThreadsDim[1];
    case cudaDevAttrMaxBlockDimZ: return p.maxThreadsDim[2];
    case cudaDevAttrMaxGridDimX: return p.maxGridSize[0];
    case cudaDevAttrMaxGridDimY: return p.maxGridSize[1];
    case cudaDevAttrMaxGridDimZ: return p.maxGridSize[2];
    case cudaDevAttrMaxSharedMemoryPerBlock: return (int)p.sharedMemPerBlock;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin: return (int)p.sharedMemPerBlockOptin;
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor: return (int)p.sharedMemPerMultiprocessor;
    case cudaDevAttrMaxRegistersPerBlock: return p.regsPerBlock;
    case cudaDevAttrMaxRegistersPerMultiprocessor: return p.regsPerMultiprocessor;
    case cudaDevAttrMaxThreadsPerMultiProcessor: return p.maxThreadsPerMultiProcessor;
    case cudaDevAttrMultiProcessorCount: return p.multiProcessorCount;
    case cudaDevAttrWarpSize: return p.warpSize;
    case cudaDevAttrComputeCapabilityMajor: return p.major;
    case cudaDevAttrComputeCapabilityMinor: return p.minor;
    default: return 1; /* of the questions whether it can do something */
  }
}

int cudaDeviceGetAttribute(int *value, enum cudaDeviceAttr name) {
  *value = attribute(name);
  return cudaSuccess;
}

int cudaDeviceGetPCIBusId(char *text, int size) {
  snprintf(text, (size_t)size, "0000:00:00.0");
  return cudaSuccess;
}

int cudaDeviceCanAccessPeer(int *can) {
  *can = 0;
  return cudaSuccess;
}

/* Functions of the driver, which PyTorch does not call by itself. */
int cudaGetDriverEntryPointByVersion(const char *name, void **function, unsigned version,
                                     unsigned long long flags, int *status) {
  (void)version, (void)flags;
  *function = stub_driver_function(name);
  if (status != NULL)
    *status = *function != NULL ? cudaDriverEntryPointSuccess : cudaDriverEntryPointSymbolNotFound;
  return cudaSuccess;
}

int cudaProfilerStart(void) { return cudaSuccess; }
int cudaProfilerStop(void) { return cudaSuccess; }
int cudaGetLastError(void) { return cudaSuccess; }
int cudaPeekAtLastError(void) { return cudaSuccess; }

const char *cudaGetErrorName(int error) {
  return error == cudaErrorMemoryAllocation ? "cudaErrorMemoryAllocation" : "an error of the stub";
}

const char *cudaGetErrorString(int error) {
  if (error == cudaErrorMemoryAllocation) return "out of memory";
  return error == cudaErrorNotSupported ? "the stub of a GPU cannot do this" : "no error";
}
