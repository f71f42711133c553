// What the two halves of the bridge share; nothing here is visible outside.
#ifndef HEADTAIL_PICTURES_INTERNAL_H
#define HEADTAIL_PICTURES_INTERNAL_H

#import "pictures_bridge.h"

#import <Foundation/Foundation.h>

#ifdef __has_feature
#if __has_feature(objc_arc)
#error "Compile the bridge with -fno-objc-arc."
#endif
#endif

#define HEADTAIL_PICTURES_HIDDEN __attribute__((visibility("hidden")))

// Write text whole; NO if it does not fit.
HEADTAIL_PICTURES_HIDDEN BOOL headtail_pictures_put(headtail_pictures_text *text, NSString *said);

// Each writes why into `error`, cut between characters, and returns `status`.
HEADTAIL_PICTURES_HIDDEN int32_t headtail_pictures_failed(headtail_pictures_text *error,
                                                          int32_t status, NSString *said);
HEADTAIL_PICTURES_HIDDEN int32_t headtail_pictures_raised(headtail_pictures_text *error,
                                                          NSException *exception);
HEADTAIL_PICTURES_HIDDEN NSString *headtail_pictures_words(NSError *fault);

#endif
