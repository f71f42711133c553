// A STAND-IN for Core ML's values and descriptions: what is passed to a model and said of it.
#import "fake_internal.h"

#include <stdlib.h>

int32_t fake_alive = 0;
static int32_t fake_functions_there = 1;

void fake_coreml_set_functions(int32_t there) {
    fake_functions_there = there;
}

int32_t fake_coreml_alive(void) {
    return __atomic_load_n(&fake_alive, __ATOMIC_SEQ_CST);
}

void fake_fail(NSError **error, NSString *said) {
    NSDictionary *info = [NSDictionary dictionaryWithObject:said forKey:NSLocalizedDescriptionKey];
    if (error != NULL) {
        *error = [NSError errorWithDomain:@"com.apple.CoreML" code:0 userInfo:info];
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
        fake_fail(error, @"The multi-array cannot be made of this.");
        [self release];
        return nil;
    }
    data = dataPointer;
    shape = [aShape copy];
    strides = [theStrides copy];
    dataType = aType;
    return self;
}

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
        fake_fail(error, @"There is no feature.");
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
    if (!fake_functions_there && sel_isEqual(selector, @selector(setFunctionName:))) {
        return NO;
    }
    return [super instancesRespondToSelector:selector];
}

- (void)setComputeUnits:(MLComputeUnits)computeUnits {
    units = computeUnits;
}

- (void)setFunctionName:(NSString *)aName {
    if (!fake_functions_there) {
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
