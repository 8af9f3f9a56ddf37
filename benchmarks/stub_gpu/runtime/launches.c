/* Kernels: known by the address of their host function, launched into the void. */
#include "stub.h"

typedef struct { unsigned x, y, z; } Dim3;

_Atomic long stub_launches;

static int launch(void) {
  stub_launches++;
  return cudaSuccess;
}

/* How programs of nvcc register their kernels when they are loaded. */
static void *module;
void **__cudaRegisterFatBinary(void) { return &module; }
void __cudaRegisterFatBinaryEnd(void) {}
void __cudaUnregisterFatBinary(void) {}
char __cudaInitModule(void) { return 1; }
void __cudaRegisterVar(void) {}
void __cudaRegisterManagedVar(void) {}
void __cudaRegisterFunction(void) {}

/* kernel<<<grid, block, bytes, stream>>>(…): the configuration waits here for the launch. */
static __thread struct { Dim3 grid, block; size_t bytes; void *stream; } configuration;

unsigned __cudaPushCallConfiguration(Dim3 grid, Dim3 block, size_t bytes, void *stream) {
  configuration.grid = grid;
  configuration.block = block;
  configuration.bytes = bytes;
  configuration.stream = stream;
  return 0;
}

int __cudaPopCallConfiguration(Dim3 *grid, Dim3 *block, size_t *bytes, void **stream) {
  *grid = configuration.grid;
  *block = configuration.block;
  *bytes = configuration.bytes;
  *stream = configuration.stream;
  return cudaSuccess;
}

int __cudaGetKernel(const void **kernel, const void *function) {
  *kernel = function;
  return cudaSuccess;
}

int __cudaLaunchKernel(void) { return launch(); }
int cudaLaunchKernel(void) { return launch(); }
int cudaLaunchKernelExC(void) { return launch(); }
int cudaLaunchCooperativeKernel(void) { return launch(); }

/* What PyTorch asks of a kernel before it launches it: as if it used few registers. */
int cudaFuncGetAttributes(struct cudaFuncAttributes *attributes) {
  *attributes = (struct cudaFuncAttributes){.maxThreadsPerBlock = 1024, .numRegs = 32};
  attributes->ptxVersion = attributes->binaryVersion = (int)stub_setting("STUB_GPU_CAPABILITY", 90);
  return cudaSuccess;
}

int cudaFuncSetAttribute(void) { return cudaSuccess; }

int cudaOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, const void *kernel, int threads) {
  (void)kernel;
  *blocks = threads > 0 && threads < 2048 ? 2048 / threads : 1;
  return cudaSuccess;
}

int cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *blocks, const void *kernel,
                                                           int threads) {
  return cudaOccupancyMaxActiveBlocksPerMultiprocessor(blocks, kernel, threads);
}
