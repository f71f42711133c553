// Core ML behind a plain C interface, for headtail/runtimes/coreml_bridge.py (ctypes).
//
// Python cannot pass blocks or NSError ** comfortably, so this one file does. It is compiled into the
// app on iOS (found through dlopen(NULL)) and may be a dylib on macOS. Every function returns a
// status of the enum below and says what is wrong as UTF-8 in `error`, cut to its size; no exception
// leaves it, and no pointer but those of the call is kept. Handles are numbers: an unknown or closed
// one is an error. Functions may be called from any thread; predictions of one handle take turns.
#ifndef HEADTAIL_COREML_BRIDGE_H
#define HEADTAIL_COREML_BRIDGE_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define HEADTAIL_COREML_ABI 1
#define HEADTAIL_COREML_MAX_RANK 16
#define HEADTAIL_COREML_NAME_BYTES 256

// Found by name at run time only: `used` keeps the linker from dropping what nobody calls.
#define HEADTAIL_COREML_EXPORT __attribute__((used, visibility("default")))

enum headtail_coreml_status {
    HEADTAIL_COREML_OK = 0,
    HEADTAIL_COREML_ARGUMENT = 1,    // the caller's mistake: a null pointer, a number out of range
    HEADTAIL_COREML_CLOSED = 2,      // no open model has this handle
    HEADTAIL_COREML_SYSTEM = 3,      // this system is too old
    HEADTAIL_COREML_FILE = 4,        // Core ML cannot compile or open the file, or lacks the function
    HEADTAIL_COREML_DISK = 5,        // the compiled model cannot be kept
    HEADTAIL_COREML_TENSOR = 6,      // other tensors than the model takes or gives
    HEADTAIL_COREML_PREDICTION = 7,  // Core ML failed to compute
};

enum headtail_coreml_side {
    HEADTAIL_COREML_INPUTS = 0,
    HEADTAIL_COREML_OUTPUTS = 1,
};

// Where text is written, NUL included; `data` may be null when `size` is 0.
typedef struct {
    char *data;
    uint64_t size;
} headtail_coreml_text;

// One tensor. `dtype` is an MLMultiArrayDataType; `data` is dense, row-major, `bytes` long.
typedef struct {
    char name[HEADTAIL_COREML_NAME_BYTES];
    int64_t shape[HEADTAIL_COREML_MAX_RANK];
    int32_t rank;
    int32_t dtype;
    void *data;
    uint64_t bytes;
} headtail_coreml_tensor;

// HEADTAIL_COREML_ABI of the library, whatever else changed.
HEADTAIL_COREML_EXPORT int32_t headtail_coreml_abi(void);

// The system's version as text; *functions is 1 where a model may have several (iOS 18, macOS 15).
HEADTAIL_COREML_EXPORT int32_t headtail_coreml_system(int32_t *functions,
                                                      headtail_coreml_text *version);

// Memory that the system counts for this process, in bytes (phys_footprint).
HEADTAIL_COREML_EXPORT int32_t headtail_coreml_footprint(uint64_t *bytes);

// Compile a .mlpackage once: `compiled` becomes the path of CACHE/KEY.mlmodelc, which is made if it
// is absent, or made anew if `again`. `cache` null: the app's caches, which the system may empty.
// `key` (letters, digits, ._-) names the content: the same key is never compiled twice.
HEADTAIL_COREML_EXPORT int32_t headtail_coreml_compile(const char *package, const char *cache,
                                                       const char *key, int32_t again,
                                                       headtail_coreml_text *compiled,
                                                       headtail_coreml_text *error);

// Open one function of a compiled model; `function` null: its default. `units`: MLComputeUnits.
HEADTAIL_COREML_EXPORT int32_t headtail_coreml_open(const char *compiled, const char *function,
                                                    int32_t units, int64_t *handle,
                                                    headtail_coreml_text *error);

// Names, dtypes and shapes of one side, sorted by name: Core ML keeps no order. *count is how many
// `tensors` has room for, and becomes how many there are. Rank 0: the model names no shape.
HEADTAIL_COREML_EXPORT int32_t headtail_coreml_describe(int64_t handle, int32_t side,
                                                        headtail_coreml_tensor *tensors,
                                                        int32_t *count,
                                                        headtail_coreml_text *error);

// Compute. Inputs are read where they lie. `outputs` name what is wanted, in any order, with room in
// `data`; their dtype, shape and bytes become those of the result, which may have another dtype than
// described. What is in `data` means something only when the status is OK.
HEADTAIL_COREML_EXPORT int32_t headtail_coreml_predict(int64_t handle,
                                                       const headtail_coreml_tensor *inputs,
                                                       int32_t input_count,
                                                       headtail_coreml_tensor *outputs,
                                                       int32_t output_count,
                                                       headtail_coreml_text *error);

// Forget the handle. A prediction under way in another thread ends first or keeps the model alive.
HEADTAIL_COREML_EXPORT int32_t headtail_coreml_close(int64_t handle, headtail_coreml_text *error);

#ifdef __cplusplus
}
#endif

#endif
