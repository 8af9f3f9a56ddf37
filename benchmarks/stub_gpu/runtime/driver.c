/* The driver below the runtime, which PyTorch asks whether there is a context. */
#include <stddef.h>

static int primary; /* the device's only context */

int cuDeviceGet(int *device, int ordinal) {
  *device = ordinal;
  return 0;
}

int cuDevicePrimaryCtxGetState(int device, unsigned *flags, int *is_active) {
  (void)device;
  *flags = 0;
  *is_active = 1;
  return 0;
}

int cuCtxGetCurrent(void **context) {
  *context = &primary;
  return 0;
}

int cuCtxSetCurrent(void) { return 0; }

int cuDeviceGetAttribute(int *value) {
  *value = 1;
  return 0;
}

int cuGetErrorString(int error, const char **text) {
  (void)error;
  *text = "the stub of a GPU cannot do this";
  return 0;
}
