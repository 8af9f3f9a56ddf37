/* A CUDA runtime that computes nothing, so that PyTorch can be watched without a GPU.
 *
 * Real above it: PyTorch's dispatcher, autocast, autograd, its choice of kernels, the caching
 * allocator, pinned memory. Not real: everything that a GPU would do. Kernels are counted and
 * skipped; memory is reserved, but nothing is written to it. So there are no results, no times, no
 * trials of algorithms worth their name, and no workspaces of cuDNN's convolutions: the peak of the
 * memory is that of PyTorch's own tensors, a GPU needs somewhat more.
 *
 * What the host reads is made up: see `answer` in memory.c.
 *
 * Functions have the names and arguments of CUDA's, but not its header's prototypes, and leave out
 * arguments that they ignore at the end: callers on x86-64 pass them in registers. */
#ifndef STUB_H
#define STUB_H
#include <driver_types.h>
#include <stddef.h>

/* What is counted; Python reads these by name (../counters.py). */
extern _Atomic long stub_launches;        /* kernels, and products and convolutions of libraries */
extern _Atomic long stub_fills;           /* cudaMemset */
extern _Atomic long stub_device_copies;   /* from the device to itself */
extern _Atomic long stub_waits;           /* for a stream, an event, the device; to free its memory */
extern _Atomic long stub_reads;           /* copies from the device to the host */
extern _Atomic long stub_pageable_copies; /* to or from the host's pageable memory */
extern _Atomic long stub_uploaded_bytes;  /* from the host to the device */

/* A whole number of the environment, or `usual` if it is not set. */
long stub_setting(const char *name, long usual);

/* Bytes of the device's memory, and those of them that a process can allocate. */
size_t stub_total_bytes(void);
size_t stub_usable_bytes(void);

/* Take bytes of the device's memory, if there are as many (else 0); and give them back. */
int stub_take_bytes(size_t size);
void stub_give_bytes_back(size_t size);

/* Addresses of the device without memory (NULL if there are none); and their size at the end. */
void *stub_reserve(size_t size);
size_t stub_release(void *start);

/* The driver's function of this name, if the stub has it, else NULL. */
void *stub_driver_function(const char *name);

/* A new handle of a stream, an event, or a library's object: nobody looks behind it. */
void *stub_handle(void);
#endif
