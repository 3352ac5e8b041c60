/* A CUDA runtime and driver that say yes to all that torch asks of them, and compute nothing. */
#include <stddef.h>

#define YES(name, arguments, answer) \
    int name arguments { answer; return 0; }

static long handle = 0x1000; /* of streams and events: never zero, never the same twice */

YES(cudaGetDeviceCount, (int *count), *count = 1)
YES(cudaGetDevice, (int *device), *device = 0)
YES(cudaSetDevice, (int device), )
YES(cudaDriverGetVersion, (int *version), *version = 13020)
YES(cudaRuntimeGetVersion, (int *version), *version = 13020)
YES(cudaGetLastError, (void), )
YES(cudaPeekAtLastError, (void), )
YES(cudaDeviceSynchronize, (void), )
YES(cudaDeviceGetStreamPriorityRange, (int *least, int *most), *least = 0; *most = -1)
YES(cudaStreamCreateWithPriority, (long *stream, unsigned flags, int priority), *stream = handle += 16)
YES(cudaStreamIsCapturing, (void *stream, int *status), *status = 0)
YES(cudaStreamQuery, (void *stream), )
YES(cudaStreamSynchronize, (void *stream), )
YES(cudaStreamWaitEvent, (void *stream, void *event, unsigned flags), )
YES(cudaEventCreateWithFlags, (long *event, unsigned flags), *event = handle += 16)
YES(cudaEventDestroy, (void *event), )
YES(cudaEventRecord, (void *event, void *stream), )
YES(cudaEventQuery, (void *event), )
YES(cudaEventSynchronize, (void *event), )
YES(cudaMemGetInfo, (size_t *available, size_t *total), *available = *total = (size_t)16e9)
YES(cudaThreadExchangeStreamCaptureMode, (int *mode), )

YES(cuInit, (unsigned flags), )
YES(cuDriverGetVersion, (int *version), *version = 13020)
YES(cuDevicePrimaryCtxGetState, (int device, unsigned *flags, int *active), *flags = 0; *active = 1)
YES(cuCtxGetCurrent, (void **context), *context = &handle)
YES(cuGetErrorString, (int error, const char **text), *text = "none")
