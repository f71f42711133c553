// A prediction: inputs are wrapped where they lie, outputs are copied dense.
#import "coreml_internal.h"

#include <string.h>

// Bytes of one element, 0 for a type that has no numpy twin.
static uint64_t item_bytes(int64_t dtype) {
    switch (dtype) {
        case MLMultiArrayDataTypeFloat16:
            return 2;
        case MLMultiArrayDataTypeFloat32:
        case MLMultiArrayDataTypeInt32:
            return 4;
        case MLMultiArrayDataTypeDouble:
            return 8;
        default:
            return 0;
    }
}

// Bytes of a dense tensor, 0 if it has a bad rank or size or no room in 63 bits.
static uint64_t dense_bytes(const int64_t *shape, int32_t rank, int64_t dtype) {
    uint64_t bytes = item_bytes(dtype);
    if (rank < 1 || rank > HEADTAIL_COREML_MAX_RANK) {
        return 0;
    }
    for (int32_t axis = 0; axis < rank; axis++) {
        if (shape[axis] < 1 || bytes > (uint64_t)INT64_MAX / (uint64_t)shape[axis]) {
            return 0;
        }
        bytes *= (uint64_t)shape[axis];
    }
    return bytes;
}

static NSString *name_of(const headtail_coreml_tensor *tensor) {
    if (memchr(tensor->name, '\0', sizeof tensor->name) == NULL) {
        return nil;
    }
    return headtail_text_of(tensor->name);
}

// --- inputs --------------------------------------------------------------------------------------

// A multi-array over the caller's memory; its strides count elements, innermost last.
static MLMultiArray *wrapped(const headtail_coreml_tensor *tensor, NSError **fault) {
    NSMutableArray *shape = [NSMutableArray array];
    NSMutableArray *strides = [NSMutableArray array];
    long long stride = 1;
    for (int32_t axis = tensor->rank - 1; axis >= 0; axis--) {
        [shape insertObject:[NSNumber numberWithLongLong:tensor->shape[axis]] atIndex:0];
        [strides insertObject:[NSNumber numberWithLongLong:stride] atIndex:0];
        stride *= tensor->shape[axis];
    }
    return [[[MLMultiArray alloc] initWithDataPointer:tensor->data
                                                shape:shape
                                             dataType:(MLMultiArrayDataType)tensor->dtype
                                              strides:strides
                                          deallocator:nil
                                                error:fault] autorelease];
}

static int32_t check_input(const headtail_coreml_tensor *tensor, NSDictionary *known,
                           headtail_coreml_text *error) {
    NSString *name = name_of(tensor);
    if (name == nil || [known objectForKey:name] == nil) {
        NSArray *names = [[known allKeys] sortedArrayUsingSelector:@selector(compare:)];
        return headtail_failed(error, HEADTAIL_COREML_TENSOR,
                               [NSString stringWithFormat:@"No input is called %@; there are %@.",
                                                          name,
                                                          [names componentsJoinedByString:@", "]]);
    }
    uint64_t bytes = dense_bytes(tensor->shape, tensor->rank, tensor->dtype);
    if (tensor->data == NULL || bytes == 0 || bytes != tensor->bytes) {
        return headtail_failed(error, HEADTAIL_COREML_TENSOR,
                               [NSString stringWithFormat:@"%@ has %llu bytes, its shape %llu.", name,
                                                          (unsigned long long)tensor->bytes,
                                                          (unsigned long long)bytes]);
    }
    return HEADTAIL_COREML_OK;
}

static int32_t feed(const headtail_coreml_tensor *inputs, int32_t count, MLModel *model,
                    NSMutableDictionary *values, headtail_coreml_text *error) {
    NSDictionary *known = [[model modelDescription] inputDescriptionsByName];
    for (int32_t i = 0; i < count; i++) {
        int32_t status = check_input(&inputs[i], known, error);
        if (status != HEADTAIL_COREML_OK) {
            return status;
        }
        NSError *fault = nil;
        MLMultiArray *array = wrapped(&inputs[i], &fault);
        if (array == nil) {
            return headtail_failed(error, HEADTAIL_COREML_TENSOR, headtail_words(fault));
        }
        [values setObject:[MLFeatureValue featureValueWithMultiArray:array]
                   forKey:name_of(&inputs[i])];
    }
    if ([values count] != [known count]) {
        return headtail_failed(error, HEADTAIL_COREML_TENSOR,
                               [NSString stringWithFormat:@"%lu inputs were given, the model takes %lu.",
                                                          (unsigned long)[values count],
                                                          (unsigned long)[known count]]);
    }
    return HEADTAIL_COREML_OK;
}

// --- outputs -------------------------------------------------------------------------------------

static void copy_dense(const char *from, const int64_t *strides,
                       const headtail_coreml_tensor *to) {
    uint64_t item = item_bytes(to->dtype);
    int64_t run = 1;
    int32_t outer = to->rank;  // axes before it are walked, those after it lie dense
    while (outer > 0 && (to->shape[outer - 1] == 1 || strides[outer - 1] == run)) {
        run *= to->shape[--outer];
    }
    int64_t index[HEADTAIL_COREML_MAX_RANK] = {0};
    char *into = to->data;
    int32_t axis = outer;
    while (axis >= 0) {
        memcpy(into, from, (size_t)((uint64_t)run * item));
        into += (uint64_t)run * item;
        for (axis = outer - 1; axis >= 0; axis--) {
            from += strides[axis] * (int64_t)item;
            if (++index[axis] < to->shape[axis]) {
                break;
            }
            from -= strides[axis] * to->shape[axis] * (int64_t)item;
            index[axis] = 0;
        }
    }
}

// Fill in `tensor` what the result is, and its strides; nothing is copied yet.
static int32_t measure(MLMultiArray *array, NSString *name, headtail_coreml_tensor *tensor,
                       int64_t *strides, headtail_coreml_text *error) {
    NSArray *sizes = [array shape];
    NSArray *steps = [array strides];
    NSUInteger rank = [sizes count];
    if (rank < 1 || rank > HEADTAIL_COREML_MAX_RANK || [steps count] != rank) {
        return headtail_failed(error, HEADTAIL_COREML_TENSOR,
                               [NSString stringWithFormat:@"%@ has %lu axes.", name,
                                                          (unsigned long)rank]);
    }
    tensor->rank = (int32_t)rank;
    tensor->dtype = (int32_t)[array dataType];
    for (NSUInteger axis = 0; axis < rank; axis++) {
        tensor->shape[axis] = [[sizes objectAtIndex:axis] longLongValue];
        strides[axis] = [[steps objectAtIndex:axis] longLongValue];
    }
    uint64_t bytes = dense_bytes(tensor->shape, tensor->rank, tensor->dtype);
    if (tensor->data == NULL || bytes == 0 || bytes > tensor->bytes) {
        return headtail_failed(error, HEADTAIL_COREML_TENSOR,
                               [NSString stringWithFormat:@"%@ is %llu bytes (type %d, shape %@); "
                                                          @"there is room for %llu.",
                                                          name, (unsigned long long)bytes,
                                                          tensor->dtype,
                                                          [sizes componentsJoinedByString:@"x"],
                                                          (unsigned long long)tensor->bytes]);
    }
    tensor->bytes = bytes;
    return HEADTAIL_COREML_OK;
}

static int32_t take(id<MLFeatureProvider> results, headtail_coreml_tensor *output,
                    headtail_coreml_text *error) {
    NSString *name = name_of(output);
    MLFeatureValue *value = name != nil ? [results featureValueForName:name] : nil;
    MLMultiArray *array = [value multiArrayValue];
    if (array == nil) {
        return headtail_failed(error, HEADTAIL_COREML_TENSOR,
                               [NSString stringWithFormat:@"The model gives no multi-array called %@.",
                                                          name]);
    }
    headtail_coreml_tensor measured = *output;
    int64_t strides[HEADTAIL_COREML_MAX_RANK] = {0};
    int32_t status = measure(array, name, &measured, strides, error);
    if (status == HEADTAIL_COREML_OK) {
        copy_dense([array dataPointer], strides, &measured);
        *output = measured;
    }
    return status;
}

// --- the two together ----------------------------------------------------------------------------

static int32_t compute(MLModel *model, NSDictionary *values, headtail_coreml_tensor *outputs,
                       int32_t count, headtail_coreml_text *error) {
    NSError *fault = nil;
    MLDictionaryFeatureProvider *given =
        [[[MLDictionaryFeatureProvider alloc] initWithDictionary:values error:&fault] autorelease];
    id<MLFeatureProvider> results = nil;
    if (given != nil) {
        results = [model predictionFromFeatures:given error:&fault];
    }
    if (results == nil) {
        return headtail_failed(error, HEADTAIL_COREML_PREDICTION, headtail_words(fault));
    }
    for (int32_t i = 0; i < count; i++) {
        int32_t status = take(results, &outputs[i], error);
        if (status != HEADTAIL_COREML_OK) {
            return status;
        }
    }
    return HEADTAIL_COREML_OK;
}

static int32_t predict(HeadtailCoreMLModel *opened, const headtail_coreml_tensor *inputs,
                       int32_t input_count, headtail_coreml_tensor *outputs, int32_t output_count,
                       headtail_coreml_text *error) {
    NSMutableDictionary *values = [NSMutableDictionary dictionary];
    int32_t status = feed(inputs, input_count, [opened model], values, error);
    if (status != HEADTAIL_COREML_OK) {
        return status;
    }
    [[opened turn] lock];
    @try {
        status = compute([opened model], values, outputs, output_count, error);
    } @finally {
        [[opened turn] unlock];
    }
    return status;
}

int32_t headtail_coreml_predict(int64_t handle, const headtail_coreml_tensor *inputs,
                                int32_t input_count, headtail_coreml_tensor *outputs,
                                int32_t output_count, headtail_coreml_text *error) {
    NSAutoreleasePool *pool = [[NSAutoreleasePool alloc] init];
    int32_t status;
    @try {
        HeadtailCoreMLModel *opened = headtail_find(handle);
        if (opened == nil) {
            status = headtail_closed(error, handle);
        } else if (inputs == NULL || outputs == NULL || input_count < 1 || output_count < 1) {
            status = headtail_failed(error, HEADTAIL_COREML_ARGUMENT,
                                     @"At least one input and one output are needed.");
        } else {
            status = predict(opened, inputs, input_count, outputs, output_count, error);
        }
    } @catch (NSException *exception) {
        status = headtail_raised(error, HEADTAIL_COREML_PREDICTION, exception);
    }
    [pool release];
    return status;
}
