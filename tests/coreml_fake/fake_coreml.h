// How a test steers the stand-in for Core ML. The arithmetic is the test's own: two callbacks say
// what a model is and what it computes.
#ifndef FAKE_COREML_H
#define FAKE_COREML_H

#include <stdint.h>

#define FAKE_COREML_MAX_RANK 16

// A tensor as the stand-in sees it: an input where the caller of the bridge put it, an output where
// dense results are to be written. `strides` count elements.
typedef struct {
    const char *name;
    void *data;
    int64_t shape[FAKE_COREML_MAX_RANK];
    int64_t strides[FAKE_COREML_MAX_RANK];
    int32_t rank;
    int32_t dtype;
} fake_coreml_tensor;

enum fake_coreml_answer {
    FAKE_COREML_OK = 0,
    FAKE_COREML_ERROR = 1,      // an NSError with the text
    FAKE_COREML_EXCEPTION = 2,  // an NSException with the text
};

// Writes JSON: {"inputs": [FEATURE...], "outputs": [FEATURE...]}, FEATURE = {"name", "shape", "dtype"
// (absent: no multi-array)}; an output may have "strides" (elements) and "returned" (another dtype).
// `function` is null for the default.
typedef int32_t (*fake_coreml_describe)(const char *path, const char *function, char *text,
                                        uint64_t size);
// A prediction: what is given, where the results go, where an error's text goes.
typedef struct {
    const char *path;
    const char *function;
    const fake_coreml_tensor *inputs;
    int32_t input_count;
    fake_coreml_tensor *outputs;
    int32_t output_count;
    char *text;
    uint64_t size;
} fake_coreml_call;
typedef int32_t (*fake_coreml_compute)(const fake_coreml_call *call);

void fake_coreml_interpret(fake_coreml_describe describe, fake_coreml_compute compute);

// 0: as before iOS 18, where MLModelConfiguration has no functionName.
void fake_coreml_set_functions(int32_t there);

int32_t fake_coreml_units(void);     // computeUnits of the last configuration that was used
int32_t fake_coreml_compiles(void);  // how often a model was compiled
int32_t fake_coreml_alive(void);     // objects of the stand-in's classes that were not freed
int32_t fake_coreml_at_once(void);   // most predictions ever under way at once in one model

#endif
