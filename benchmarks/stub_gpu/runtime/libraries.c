/* Those functions of cuBLAS and cuDNN that have to return something.
 *
 * ../build.py writes the others: products and convolutions are launches, the rest does nothing. */
#include "stub.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static int create(void **handle) {
  *handle = stub_handle();
  return 0;
}

/* cuBLAS */
int cublasCreate_v2(void **handle) { return create(handle); }
int cublasLtCreate(void **handle) { return create(handle); }
int cublasLtMatmulDescCreate(void **handle) { return create(handle); }
int cublasLtMatmulPreferenceCreate(void **handle) { return create(handle); }
int cublasLtMatrixLayoutCreate(void **handle) { return create(handle); }
size_t cublasLtGetVersion(void) { return 130100; }

static int answer_zero(void *handle, int *value) {
  (void)handle;
  *value = 0;
  return 0;
}

int cublasGetMathMode(void *handle, int *mode) { return answer_zero(handle, mode); }
int cublasGetPointerMode_v2(void *handle, int *mode) { return answer_zero(handle, mode); }

/* One algorithm, without a workspace: a `cublasLtMatmulHeuristicResult_t` of 96 bytes. */
int cublasLtMatmulAlgoGetHeuristic(void *handle, void *operation, void *a, void *b, void *c,
                                   void *d, void *preference, int wanted, void *results,
                                   int *found) {
  (void)handle, (void)operation, (void)a, (void)b, (void)c, (void)d, (void)preference;
  *found = wanted > 0;
  if (*found) memset(results, 0, 96);
  return 0;
}

/* cuDNN */
int cudnnCreate(void **handle) { return create(handle); }
int cudnnCreateActivationDescriptor(void **handle) { return create(handle); }
int cudnnCreateConvolutionDescriptor(void **handle) { return create(handle); }
int cudnnCreateDropoutDescriptor(void **handle) { return create(handle); }
int cudnnCreateFilterDescriptor(void **handle) { return create(handle); }
int cudnnCreatePoolingDescriptor(void **handle) { return create(handle); }
int cudnnCreateTensorDescriptor(void **handle) { return create(handle); }
size_t cudnnGetVersion(void) { return 92400; }
size_t cudnnGetCudartVersion(void) { return 13000; }
const char *cudnnGetErrorString(void) { return "the stub of a GPU cannot do this"; }

void cudnnGetLastErrorString(char *text, size_t size) {
  if (size > 0) *text = '\0';
}

/* Batch norms need no workspace. The sizes are the last arguments, some of them on the stack. */
int cudnnGetBatchNormalizationForwardTrainingExWorkspaceSize(
    void *a, int b, int c, void *d, void *e, void *f, void *g, void *h, size_t *size) {
  (void)a, (void)b, (void)c, (void)d, (void)e, (void)f, (void)g, (void)h;
  *size = 0;
  return 0;
}

int cudnnGetBatchNormalizationBackwardExWorkspaceSize(
    void *a, int b, int c, void *d, void *e, void *f, void *g, void *h, void *i, void *j,
    size_t *size) {
  (void)a, (void)b, (void)c, (void)d, (void)e, (void)f, (void)g, (void)h, (void)i, (void)j;
  *size = 0;
  return 0;
}

int cudnnGetBatchNormalizationTrainingExReserveSpaceSize(void *a, int b, int c, void *d, void *e,
                                                         size_t *size) {
  (void)a, (void)b, (void)c, (void)d, (void)e;
  *size = 0;
  return 0;
}

/* Convolutions are plans, made of descriptors; to run one is a launch. */
int cudnnBackendCreateDescriptor(int type, void **descriptor) {
  (void)type;
  *descriptor = calloc(1, 64);
  return 0;
}

int cudnnBackendDestroyDescriptor(void *descriptor) {
  free(descriptor);
  return 0;
}

int cudnnBackendExecute(void) {
  stub_launches++;
  return 0;
}

/* A heuristic has one plan to offer; every other number, such as its workspace, is 0. */
enum { HEURISTIC_RESULTS = 202, TYPE_INT64 = 3, TYPE_DESCRIPTOR = 15 };

int cudnnBackendGetAttribute(void *descriptor, int name, int type, int64_t wanted, int64_t *found,
                             void *values) {
  (void)descriptor;
  int is_known = type == TYPE_INT64 || type == TYPE_DESCRIPTOR;
  int64_t count = name == HEURISTIC_RESULTS || (is_known && values != NULL && wanted > 0);
  if (found != NULL) *found = count;
  if (count && name != HEURISTIC_RESULTS && type == TYPE_INT64) *(int64_t *)values = 0;
  return 0;
}
