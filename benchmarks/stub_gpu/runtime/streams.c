/* Streams and events: all work is done as soon as it is asked for. Graphs are not captured. */
#include "stub.h"

_Atomic long stub_waits;

void *stub_handle(void) {
  static _Atomic long last = 0x1000;
  return (void *)(last += 16);
}

static int create(void **handle) {
  *handle = stub_handle();
  return cudaSuccess;
}

static int wait(void) {
  stub_waits++;
  return cudaSuccess;
}

int cudaStreamCreate(void **stream) { return create(stream); }
int cudaStreamCreateWithFlags(void **stream) { return create(stream); }
int cudaStreamCreateWithPriority(void **stream) { return create(stream); }
int cudaEventCreate(void **event) { return create(event); }
int cudaEventCreateWithFlags(void **event) { return create(event); }

int cudaStreamSynchronize(void) { return wait(); }
int cudaEventSynchronize(void) { return wait(); }
int cudaDeviceSynchronize(void) { return wait(); }

int cudaStreamDestroy(void) { return cudaSuccess; }
int cudaStreamQuery(void) { return cudaSuccess; }
int cudaStreamWaitEvent(void) { return cudaSuccess; }
int cudaEventDestroy(void) { return cudaSuccess; }
int cudaEventQuery(void) { return cudaSuccess; }
int cudaEventRecord(void) { return cudaSuccess; }
int cudaEventRecordWithFlags(void) { return cudaSuccess; }
int cudaThreadExchangeStreamCaptureMode(void) { return cudaSuccess; }

int cudaEventElapsedTime(float *milliseconds) {
  *milliseconds = 0.01f;
  return cudaSuccess;
}

int cudaDeviceGetStreamPriorityRange(int *least, int *greatest) {
  if (least != NULL) *least = 0;
  if (greatest != NULL) *greatest = -5;
  return cudaSuccess;
}

int cudaStreamGetPriority(void *stream, int *priority) {
  (void)stream;
  *priority = 0;
  return cudaSuccess;
}

int cudaStreamIsCapturing(void *stream, int *status) {
  (void)stream;
  *status = cudaStreamCaptureStatusNone;
  return cudaSuccess;
}

int cudaStreamGetCaptureInfo(void *stream, int *status, unsigned long long *id) {
  if (id != NULL) *id = 0;
  return cudaStreamIsCapturing(stream, status);
}
