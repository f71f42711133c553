// A STAND-IN for Core ML's MLModel: compiles by copying, computes by asking the test. It has objects,
// errors and memory as Apple's framework has them, no arithmetic; see fake_coreml.h.
#import "fake_internal.h"

#include <stdlib.h>
#include <string.h>

static fake_coreml_describe describe_model;
static fake_coreml_compute compute_model;
static int32_t units_used = -1;
static int32_t compiles = 0;
static int32_t most_at_once = 0;

void fake_coreml_interpret(fake_coreml_describe describe, fake_coreml_compute compute) {
    describe_model = describe;
    compute_model = compute;
}

int32_t fake_coreml_units(void) {
    return units_used;
}

int32_t fake_coreml_compiles(void) {
    return compiles;
}

int32_t fake_coreml_at_once(void) {
    return __atomic_load_n(&most_at_once, __ATOMIC_SEQ_CST);
}

static size_t item_bytes(NSInteger dtype) {
    return ((size_t)dtype & 0xFFFF) / 8;  // the low bits of Apple's constants are the width
}

static void sizes_of(NSArray *numbers, int64_t *into) {
    for (NSUInteger i = 0; i < [numbers count]; i++) {
        into[i] = [[numbers objectAtIndex:i] longLongValue];
    }
}

static NSDictionary *facts_of(NSString *path, NSString *function, NSError **error) {
    char text[65536] = "";
    if (describe_model([path fileSystemRepresentation], [function UTF8String], text, sizeof text)) {
        fake_fail(error, [NSString stringWithUTF8String:text]);
        return nil;
    }
    NSData *json = [NSData dataWithBytes:text length:strlen(text)];
    return [NSJSONSerialization JSONObjectWithData:json options:0 error:error];
}

// Room for a dense output, until the pool ends.
static void room_for(NSDictionary *feature, fake_coreml_tensor *tensor) {
    NSNumber *returned = [feature objectForKey:@"returned"];
    NSArray *sizes = [feature objectForKey:@"shape"];
    NSNumber *dtype = returned != nil ? returned : [feature objectForKey:@"dtype"];
    int64_t stride = 1;
    tensor->name = [[feature objectForKey:@"name"] UTF8String];
    tensor->rank = (int32_t)[sizes count];
    tensor->dtype = (int32_t)[dtype integerValue];
    sizes_of(sizes, tensor->shape);
    for (int32_t axis = tensor->rank - 1; axis >= 0; axis--) {
        tensor->strides[axis] = stride;
        stride *= tensor->shape[axis];
    }
    tensor->data =
        [[NSMutableData dataWithLength:(NSUInteger)stride * item_bytes(tensor->dtype)] mutableBytes];
}

// Memory of its own with the feature's strides; what lies between the elements is rubbish.
static void *scattered(const fake_coreml_tensor *dense, const int64_t *strides) {
    size_t item = item_bytes(dense->dtype);
    int64_t last = 0;
    int64_t count = 1;
    for (int32_t axis = 0; axis < dense->rank; axis++) {
        last += strides[axis] * (dense->shape[axis] - 1);
        count *= dense->shape[axis];
    }
    char *memory = malloc(((size_t)last + 1) * item);
    memset(memory, 0xAB, ((size_t)last + 1) * item);
    for (int64_t number = 0; number < count; number++) {
        int64_t left = number;
        int64_t place = 0;
        for (int32_t axis = dense->rank - 1; axis >= 0; axis--) {
            place += left % dense->shape[axis] * strides[axis];
            left /= dense->shape[axis];
        }
        memcpy(memory + (size_t)place * item, (char *)dense->data + (size_t)number * item, item);
    }
    return memory;
}

static MLFeatureValue *feature_of(NSDictionary *feature, const fake_coreml_tensor *dense) {
    int64_t strides[FAKE_COREML_MAX_RANK];
    memcpy(strides, dense->strides, sizeof strides);
    sizes_of([feature objectForKey:@"strides"], strides);
    NSMutableArray *steps = [NSMutableArray array];
    for (int32_t axis = 0; axis < dense->rank; axis++) {
        [steps addObject:[NSNumber numberWithLongLong:strides[axis]]];
    }
    MLMultiArray *array =
        [[[MLMultiArray alloc] initWithDataPointer:scattered(dense, strides)
                                             shape:[feature objectForKey:@"shape"]
                                          dataType:(MLMultiArrayDataType)dense->dtype
                                           strides:steps
                                       deallocator:nil
                                             error:NULL] autorelease];
    [array own];
    return [MLFeatureValue featureValueWithMultiArray:array];
}

// An output without an element type is a class label: a feature without a multi-array.
static NSDictionary *results_of(NSArray *features, const fake_coreml_tensor *dense) {
    NSMutableDictionary *named = [NSMutableDictionary dictionary];
    for (NSUInteger i = 0; i < [features count]; i++) {
        NSDictionary *feature = [features objectAtIndex:i];
        MLFeatureValue *value = [feature objectForKey:@"dtype"] != nil
                                    ? feature_of(feature, &dense[i])
                                    : [[[MLFeatureValue alloc] init] autorelease];
        [named setObject:value forKey:[feature objectForKey:@"name"]];
    }
    return named;
}

@implementation MLModel
COUNTED
+ (NSURL *)compileModelAtURL:(NSURL *)modelURL error:(NSError **)error {
    compiles++;
    NSString *source = [modelURL path];
    if (facts_of(source, nil, error) == nil) {
        return nil;
    }
    NSString *name = [[[NSProcessInfo processInfo] globallyUniqueString]
        stringByAppendingPathExtension:@"mlmodelc"];
    NSString *made = [NSTemporaryDirectory() stringByAppendingPathComponent:name];
    BOOL copied = [[NSFileManager defaultManager] copyItemAtPath:source toPath:made error:error];
    return copied ? [NSURL fileURLWithPath:made] : nil;
}

+ (MLModel *)modelWithContentsOfURL:(NSURL *)url
                      configuration:(MLModelConfiguration *)configuration
                              error:(NSError **)error {
    NSString *function = [configuration functionAsked];
    NSDictionary *facts = facts_of([url path], function, error);
    if (facts == nil) {
        return nil;
    }
    MLModel *made = [[[self alloc] init] autorelease];
    made->path = [[url path] copy];
    made->function = [function copy];
    made->facts = [facts retain];
    made->description = [[MLModelDescription descriptionOf:facts] retain];
    units_used = (int32_t)[configuration unitsAsked];
    return made;
}

- (MLModelDescription *)modelDescription {
    return description;
}

// As Core ML: every input must be there, with the shape and the element type of its description.
- (BOOL)read:(id<MLFeatureProvider>)given
         into:(fake_coreml_tensor *)tensors
        error:(NSError **)error {
    NSArray *features = [facts objectForKey:@"inputs"];
    for (NSUInteger i = 0; i < [features count]; i++) {
        NSDictionary *feature = [features objectAtIndex:i];
        NSString *name = [feature objectForKey:@"name"];
        MLMultiArray *array = [[given featureValueForName:name] multiArrayValue];
        if (array == nil || ![[array shape] isEqual:[feature objectForKey:@"shape"]] ||
            [array dataType] != [[feature objectForKey:@"dtype"] integerValue]) {
            fake_fail(error, [NSString stringWithFormat:@"MultiArray %@ does not match the model.", name]);
            return NO;
        }
        tensors[i].name = [name UTF8String];
        tensors[i].data = [array dataPointer];
        tensors[i].rank = (int32_t)[[array shape] count];
        tensors[i].dtype = (int32_t)[array dataType];
        sizes_of([array shape], tensors[i].shape);
        sizes_of([array strides], tensors[i].strides);
    }
    return YES;
}

- (id<MLFeatureProvider>)computed:(id<MLFeatureProvider>)input error:(NSError **)error {
    NSArray *features = [facts objectForKey:@"outputs"];
    NSMutableData *taken = [NSMutableData
        dataWithLength:[[facts objectForKey:@"inputs"] count] * sizeof(fake_coreml_tensor)];
    NSMutableData *given = [NSMutableData dataWithLength:[features count] * sizeof(fake_coreml_tensor)];
    if (![self read:input into:[taken mutableBytes] error:error]) {
        return nil;
    }
    fake_coreml_tensor *dense = [given mutableBytes];
    for (NSUInteger i = 0; i < [features count]; i++) {
        room_for([features objectAtIndex:i], &dense[i]);
    }
    char text[4096] = "";
    fake_coreml_call call = {[path fileSystemRepresentation],
                             [function UTF8String],
                             [taken bytes],
                             (int32_t)([taken length] / sizeof *dense),
                             dense,
                             (int32_t)[features count],
                             text,
                             sizeof text};
    int32_t answer = compute_model(&call);
    if (answer == FAKE_COREML_EXCEPTION) {
        [NSException raise:NSInvalidArgumentException format:@"%s", text];
    }
    if (answer != FAKE_COREML_OK) {
        fake_fail(error, [NSString stringWithUTF8String:text]);
        return nil;
    }
    return [[[MLDictionaryFeatureProvider alloc] initWithDictionary:results_of(features, dense)
                                                              error:error] autorelease];
}

- (id<MLFeatureProvider>)predictionFromFeatures:(id<MLFeatureProvider>)input error:(NSError **)error {
    int32_t now = __atomic_add_fetch(&underWay, 1, __ATOMIC_SEQ_CST);
    if (now > fake_coreml_at_once()) {
        __atomic_store_n(&most_at_once, now, __ATOMIC_SEQ_CST);
    }
    @try {
        return [self computed:input error:error];
    } @finally {
        __atomic_sub_fetch(&underWay, 1, __ATOMIC_SEQ_CST);
    }
}

- (void)dealloc {
    [path release];
    [function release];
    [facts release];
    [description release];
    UNCOUNT;
    [super dealloc];
}
@end
