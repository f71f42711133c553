// A STAND-IN for Apple's Core ML framework, as much of it as ios/*.m use, so that the bridge compiles
// and runs under GNUstep. It is not Core ML and computes nothing itself (fake_coreml.m).
//
// Only what Apple's framework really has may be declared here: test_coreml_evidence.py compares every
// class, selector and constant with what macOS wheels on PyPI call. The bridge is compiled with
// undeclared selectors as errors, so a misspelt one cannot pass. Blocks are `id`: gcc has none.
#ifndef COREML_FAKE_H
#define COREML_FAKE_H

#import <Foundation/Foundation.h>

typedef NS_ENUM(NSInteger, MLComputeUnits) {
    MLComputeUnitsCPUOnly = 0,
    MLComputeUnitsCPUAndGPU = 1,
    MLComputeUnitsAll = 2,
    MLComputeUnitsCPUAndNeuralEngine = 3,
};

typedef NS_ENUM(NSInteger, MLMultiArrayDataType) {
    MLMultiArrayDataTypeDouble = 65600,
    MLMultiArrayDataTypeFloat32 = 65568,
    MLMultiArrayDataTypeFloat16 = 65552,
    MLMultiArrayDataTypeInt32 = 131104,
};

@interface MLMultiArray : NSObject {
    void *data;
    void *owned;
    NSArray *shape;
    NSArray *strides;
    MLMultiArrayDataType dataType;
}
- (id)initWithDataPointer:(void *)dataPointer
                    shape:(NSArray *)shape
                 dataType:(MLMultiArrayDataType)dataType
                  strides:(NSArray *)strides
              deallocator:(id)deallocator
                    error:(NSError **)error;
- (void *)dataPointer;
- (MLMultiArrayDataType)dataType;
- (NSArray *)shape;
- (NSArray *)strides;
@end

@interface MLFeatureValue : NSObject {
    MLMultiArray *array;
}
+ (id)featureValueWithMultiArray:(MLMultiArray *)value;
- (MLMultiArray *)multiArrayValue;
@end

@protocol MLFeatureProvider <NSObject>
- (NSSet *)featureNames;
- (MLFeatureValue *)featureValueForName:(NSString *)featureName;
@end

@interface MLDictionaryFeatureProvider : NSObject <MLFeatureProvider> {
    NSDictionary *values;
}
- (id)initWithDictionary:(NSDictionary *)dictionary error:(NSError **)error;
@end

@interface MLMultiArrayConstraint : NSObject {
    NSArray *shape;
    MLMultiArrayDataType dataType;
}
- (NSArray *)shape;
- (MLMultiArrayDataType)dataType;
@end

@interface MLFeatureDescription : NSObject {
    MLMultiArrayConstraint *constraint;
}
- (MLMultiArrayConstraint *)multiArrayConstraint;
@end

@interface MLModelDescription : NSObject {
    NSDictionary *inputs;
    NSDictionary *outputs;
}
- (NSDictionary *)inputDescriptionsByName;
- (NSDictionary *)outputDescriptionsByName;
@end

@interface MLModelConfiguration : NSObject {
    MLComputeUnits units;
    NSString *functionName;
}
- (void)setComputeUnits:(MLComputeUnits)computeUnits;
- (void)setFunctionName:(NSString *)functionName;
@end

@interface MLModel : NSObject {
    NSString *path;
    NSString *function;
    MLModelDescription *description;
    NSDictionary *facts;
    int32_t underWay;
}
+ (NSURL *)compileModelAtURL:(NSURL *)modelURL error:(NSError **)error;
+ (MLModel *)modelWithContentsOfURL:(NSURL *)url
                      configuration:(MLModelConfiguration *)configuration
                              error:(NSError **)error;
- (MLModelDescription *)modelDescription;
- (id<MLFeatureProvider>)predictionFromFeatures:(id<MLFeatureProvider>)input error:(NSError **)error;
@end

#endif
