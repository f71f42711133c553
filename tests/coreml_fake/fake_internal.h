// What the stand-in's own files share.
#ifndef FAKE_INTERNAL_H
#define FAKE_INTERNAL_H

#import "fake_coreml.h"

#import <CoreML/CoreML.h>

extern int32_t fake_alive;

// Every object of the framework's classes is counted from its allocation to its end.
#define COUNTED                                               \
    +(id)allocWithZone : (NSZone *)zone {                     \
        __atomic_add_fetch(&fake_alive, 1, __ATOMIC_SEQ_CST); \
        return [super allocWithZone:zone];                    \
    }

#define UNCOUNT __atomic_sub_fetch(&fake_alive, 1, __ATOMIC_SEQ_CST)

void fake_fail(NSError **error, NSString *said);

// Core ML has none of these: they are between the stand-in's files.
@interface MLMultiArray (Fake)
- (void)own;  // the array frees its memory itself
@end

@interface MLModelDescription (Fake)
+ (id)descriptionOf:(NSDictionary *)facts;
@end

@interface MLModelConfiguration (Fake)
- (MLComputeUnits)unitsAsked;
- (NSString *)functionAsked;
@end

#endif
