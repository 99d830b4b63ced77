/* The calls by which torch asks for devices, streams and events, answered without a driver: there is one GPU, and it is
   never busy. Built and preloaded by scripts/pretend_gpu.py. No memory is ever on it: see device.py. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef int Status;
typedef void *Handle;

static Status new_handle(Handle *handle) {
    static uintptr_t last = 0x1000;
    *handle = (Handle)(last += 16);
    return 0;
}

/* a process that hides all GPUs has none; 100 says so */
Status cudaGetDeviceCount(int *count) {
    const char *visible = getenv("CUDA_VISIBLE_DEVICES");
    *count = visible == NULL || *visible != 0;
    return *count ? 0 : 100;
}
Status cudaGetDevice(int *device) { *device = 0; return 0; }
Status cudaSetDevice(int device) { return 0; }
Status cudaGetLastError(void) { return 0; }
Status cudaPeekAtLastError(void) { return 0; }
Status cudaDriverGetVersion(int *version) { *version = 13000; return 0; }
Status cudaDeviceSynchronize(void) { return 0; }
Status cudaDeviceGetStreamPriorityRange(int *least, int *most) { *least = 0; *most = -5; return 0; }
Status cudaDeviceGetAttribute(int *value, int attribute, int device) { *value = attribute == 75 ? 9 : 1; return 0; }
/* the structure begins with the name; the rest is what the caller has there, zeros */
Status cudaGetDeviceProperties(char *properties, int device) { strcpy(properties, "pretended GPU"); return 0; }
Status cudaGetDeviceProperties_v2(char *properties, int device) { return cudaGetDeviceProperties(properties, device); }
Status cudaStreamCreateWithPriority(Handle *stream, unsigned flags, int priority) { return new_handle(stream); }
Status cudaStreamCreateWithFlags(Handle *stream, unsigned flags) { return new_handle(stream); }
Status cudaStreamGetPriority(Handle stream, int *priority) { *priority = 0; return 0; }
Status cudaStreamIsCapturing(Handle stream, int *capturing) { *capturing = 0; return 0; }
Status cudaStreamQuery(Handle stream) { return 0; }
Status cudaStreamSynchronize(Handle stream) { return 0; }
Status cudaStreamWaitEvent(Handle stream, Handle event, unsigned flags) { return 0; }
Status cudaStreamDestroy(Handle stream) { return 0; }
Status cudaEventCreateWithFlags(Handle *event, unsigned flags) { return new_handle(event); }
Status cudaEventRecord(Handle event, Handle stream) { return 0; }
Status cudaEventRecordWithFlags(Handle event, Handle stream, unsigned flags) { return 0; }
Status cudaEventQuery(Handle event) { return 0; }
Status cudaEventSynchronize(Handle event) { return 0; }
Status cudaEventDestroy(Handle event) { return 0; }
const char *cudaGetErrorString(Status error) { return "the pretended GPU does not compute"; }
const char *cudaGetErrorName(Status error) { return "pretended"; }

/* of the driver, which torch opens by its name */
Status cuInit(unsigned flags) { return 0; }
Status cuCtxGetCurrent(Handle *context) { *context = NULL; return 0; }
Status cuDevicePrimaryCtxGetState(int device, unsigned *flags, int *active) { *flags = 0; *active = 1; return 0; }
Status cuGetErrorString(Status error, const char **text) { *text = "pretended"; return 0; }
