// A STAND-IN for Core ML: objects, errors and memory as Apple's framework has them, no arithmetic.
// See fake_coreml.h.
#import "fake_coreml.h"

#import <CoreML/CoreML.h>

#include <stdlib.h>
#include <string.h>

static fake_coreml_describe describe_model;
static fake_coreml_compute compute_model;
static int32_t functions_there = 1;
static int32_t units_used = -1;
static int32_t compiles = 0;
static int32_t alive = 0;
static int32_t most_at_once = 0;

void fake_coreml_interpret(fake_coreml_describe describe, fake_coreml_compute compute) {
    describe_model = describe;
    compute_model = compute;
}

void fake_coreml_set_functions(int32_t there) {
    functions_there = there;
}

int32_t fake_coreml_units(void) {
    return units_used;
}

int32_t fake_coreml_compiles(void) {
    return compiles;
}

int32_t fake_coreml_alive(void) {
    return __atomic_load_n(&alive, __ATOMIC_SEQ_CST);
}

int32_t fake_coreml_at_once(void) {
    return __atomic_load_n(&most_at_once, __ATOMIC_SEQ_CST);
}

#define COUNTED                                            \
    +(id)allocWithZone : (NSZone *)zone {                  \
        __atomic_add_fetch(&alive, 1, __ATOMIC_SEQ_CST);   \
        return [super allocWithZone:zone];                 \
    }

#define UNCOUNT __atomic_sub_fetch(&alive, 1, __ATOMIC_SEQ_CST)

static void fail(NSError **error, NSString *said) {
    NSDictionary *info = [NSDictionary dictionaryWithObject:said forKey:NSLocalizedDescriptionKey];
    if (error != NULL) {
        *error = [NSError errorWithDomain:@"com.apple.CoreML" code:0 userInfo:info];
    }
}

static size_t item_bytes(NSInteger dtype) {
    return ((size_t)dtype & 0xFFFF) / 8;  // the low bits of Apple's constants are the width
}

static void sizes_of(NSArray *numbers, int64_t *into) {
    for (NSUInteger i = 0; i < [numbers count]; i++) {
        into[i] = [[numbers objectAtIndex:i] longLongValue];
    }
}

@implementation MLMultiArray
COUNTED
- (id)initWithDataPointer:(void *)dataPointer
                    shape:(NSArray *)aShape
                 dataType:(MLMultiArrayDataType)aType
                  strides:(NSArray *)theStrides
              deallocator:(id)deallocator
                    error:(NSError **)error {
    self = [super init];
    if (dataPointer == NULL || [aShape count] != [theStrides count] || deallocator != nil) {
        fail(error, @"The multi-array cannot be made of this.");
        [self release];
        return nil;
    }
    data = dataPointer;
    shape = [aShape copy];
    strides = [theStrides copy];
    dataType = aType;
    return self;
}

// Not part of Core ML: the array frees its memory itself.
- (void)own {
    owned = data;
}

- (void)dealloc {
    free(owned);
    [shape release];
    [strides release];
    UNCOUNT;
    [super dealloc];
}

- (void *)dataPointer {
    return data;
}

- (MLMultiArrayDataType)dataType {
    return dataType;
}

- (NSArray *)shape {
    return shape;
}

- (NSArray *)strides {
    return strides;
}
@end

@implementation MLFeatureValue
COUNTED
+ (id)featureValueWithMultiArray:(MLMultiArray *)value {
    MLFeatureValue *made = [[[self alloc] init] autorelease];
    made->array = [value retain];
    return made;
}

- (MLMultiArray *)multiArrayValue {
    return array;
}

- (void)dealloc {
    [array release];
    UNCOUNT;
    [super dealloc];
}
@end

@implementation MLDictionaryFeatureProvider
COUNTED
- (id)initWithDictionary:(NSDictionary *)dictionary error:(NSError **)error {
    self = [super init];
    if ([dictionary count] == 0) {
        fail(error, @"There is no feature.");
        [self release];
        return nil;
    }
    values = [dictionary copy];
    return self;
}

- (NSSet *)featureNames {
    return [NSSet setWithArray:[values allKeys]];
}

- (MLFeatureValue *)featureValueForName:(NSString *)featureName {
    return [values objectForKey:featureName];
}

- (void)dealloc {
    [values release];
    UNCOUNT;
    [super dealloc];
}
@end

@implementation MLMultiArrayConstraint
COUNTED
+ (id)constraintOf:(NSDictionary *)feature {
    MLMultiArrayConstraint *made = [[[self alloc] init] autorelease];
    made->shape = [[feature objectForKey:@"shape"] copy];
    made->dataType = [[feature objectForKey:@"dtype"] integerValue];
    return made;
}

- (NSArray *)shape {
    return shape;
}

- (MLMultiArrayDataType)dataType {
    return dataType;
}

- (void)dealloc {
    [shape release];
    UNCOUNT;
    [super dealloc];
}
@end

@implementation MLFeatureDescription
COUNTED
+ (id)descriptionOf:(NSDictionary *)feature {
    MLFeatureDescription *made = [[[self alloc] init] autorelease];
    if ([feature objectForKey:@"dtype"] != nil) {
        made->constraint = [[MLMultiArrayConstraint constraintOf:feature] retain];
    }
    return made;
}

- (MLMultiArrayConstraint *)multiArrayConstraint {
    return constraint;
}

- (void)dealloc {
    [constraint release];
    UNCOUNT;
    [super dealloc];
}
@end

@implementation MLModelDescription
COUNTED
static NSDictionary *by_name(NSArray *features) {
    NSMutableDictionary *named = [NSMutableDictionary dictionary];
    for (NSUInteger i = 0; i < [features count]; i++) {
        NSDictionary *feature = [features objectAtIndex:i];
        [named setObject:[MLFeatureDescription descriptionOf:feature]
                  forKey:[feature objectForKey:@"name"]];
    }
    return named;
}

+ (id)descriptionOf:(NSDictionary *)facts {
    MLModelDescription *made = [[[self alloc] init] autorelease];
    made->inputs = [by_name([facts objectForKey:@"inputs"]) copy];
    made->outputs = [by_name([facts objectForKey:@"outputs"]) copy];
    return made;
}

- (NSDictionary *)inputDescriptionsByName {
    return inputs;
}

- (NSDictionary *)outputDescriptionsByName {
    return outputs;
}

- (void)dealloc {
    [inputs release];
    [outputs release];
    UNCOUNT;
    [super dealloc];
}
@end

@implementation MLModelConfiguration
COUNTED
+ (BOOL)instancesRespondToSelector:(SEL)selector {
    if (!functions_there && sel_isEqual(selector, @selector(setFunctionName:))) {
        return NO;
    }
    return [super instancesRespondToSelector:selector];
}

- (void)setComputeUnits:(MLComputeUnits)computeUnits {
    units = computeUnits;
}

- (void)setFunctionName:(NSString *)aName {
    if (!functions_there) {
        [self doesNotRecognizeSelector:_cmd];
    }
    [functionName release];
    functionName = [aName copy];
}

- (MLComputeUnits)unitsAsked {
    return units;
}

- (NSString *)functionAsked {
    return functionName;
}

- (void)dealloc {
    [functionName release];
    UNCOUNT;
    [super dealloc];
}
@end

static NSDictionary *facts_of(NSString *path, NSString *function, NSError **error) {
    char text[65536] = "";
    if (describe_model([path fileSystemRepresentation], [function UTF8String], text, sizeof text)) {
        fail(error, [NSString stringWithUTF8String:text]);
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
            fail(error, [NSString stringWithFormat:@"MultiArray %@ does not match the model.", name]);
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
        fail(error, [NSString stringWithUTF8String:text]);
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
