// What the bridge's own files share; nothing here is visible outside.
#ifndef HEADTAIL_COREML_INTERNAL_H
#define HEADTAIL_COREML_INTERNAL_H

#import "coreml_bridge.h"

#import <CoreML/CoreML.h>
#import <Foundation/Foundation.h>

#ifdef __has_feature
#if __has_feature(objc_arc)
#error "Compile the bridge with -fno-objc-arc."
#endif
#endif

#define HEADTAIL_HIDDEN __attribute__((visibility("hidden")))

// One open model. Predictions take turns: Apple asks for one at a time per MLModel.
HEADTAIL_HIDDEN
@interface HeadtailCoreMLModel : NSObject {
    MLModel *model;
    NSLock *turn;
}
- (id)initWithModel:(MLModel *)aModel;
- (MLModel *)model;
- (NSLock *)turn;
@end

// The open model of a handle, or nil; it lives until the caller's pool ends, closed or not.
HEADTAIL_HIDDEN HeadtailCoreMLModel *headtail_find(int64_t handle);

// Write text, cut before a character that would not fit whole. `text` may be null.
HEADTAIL_HIDDEN void headtail_put(headtail_coreml_text *text, const char *utf8);

// Each writes why into `error` and returns `status`.
HEADTAIL_HIDDEN int32_t headtail_failed(headtail_coreml_text *error, int32_t status,
                                        NSString *said);
HEADTAIL_HIDDEN int32_t headtail_raised(headtail_coreml_text *error, int32_t status,
                                        NSException *exception);
HEADTAIL_HIDDEN int32_t headtail_closed(headtail_coreml_text *error, int64_t handle);

// What Core ML says, with the error below it, which often holds the real reason.
HEADTAIL_HIDDEN NSString *headtail_words(NSError *fault);

// nil for null, for the empty string and for bytes that are not UTF-8.
HEADTAIL_HIDDEN NSString *headtail_text_of(const char *utf8);

#endif
