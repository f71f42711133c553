// Compiling a .mlpackage on the device, once for each content.
#import "coreml_internal.h"

#include <string.h>

static const NSUInteger kMaxKey = 128;

static BOOL is_key(NSString *key) {
    NSCharacterSet *others = [[NSCharacterSet
        characterSetWithCharactersInString:@"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                           @"0123456789._-"] invertedSet];
    return key != nil && [key length] <= kMaxKey && ![key hasPrefix:@"."] &&
           [key rangeOfCharacterFromSet:others].location == NSNotFound;
}

static NSString *cache_folder(NSString *asked) {
    if (asked != nil) {
        return asked;
    }
    NSArray *folders = NSSearchPathForDirectoriesInDomains(NSCachesDirectory, NSUserDomainMask, YES);
    return [[folders objectAtIndex:0] stringByAppendingPathComponent:@"headtail-coreml"];
}

// Core ML compiles into a temporary folder; moving it is one rename, so a half is never seen.
static int32_t keep(NSURL *made, NSString *target, headtail_coreml_text *error) {
    NSFileManager *files = [NSFileManager defaultManager];
    NSError *fault = nil;
    if ([files createDirectoryAtPath:[target stringByDeletingLastPathComponent]
            withIntermediateDirectories:YES
                             attributes:nil
                                  error:&fault] &&
        [files moveItemAtURL:made toURL:[NSURL fileURLWithPath:target] error:&fault]) {
        return HEADTAIL_COREML_OK;
    }
    NSString *said = headtail_words(fault);
    [files removeItemAtPath:[made path] error:NULL];
    if ([files fileExistsAtPath:target]) {
        return HEADTAIL_COREML_OK;  // another thread was first, with the same content
    }
    return headtail_failed(error, HEADTAIL_COREML_DISK, said);
}

static int32_t compile(NSString *package, NSString *target, BOOL again,
                       headtail_coreml_text *error) {
    NSFileManager *files = [NSFileManager defaultManager];
    if ([files fileExistsAtPath:target]) {
        if (!again) {
            return HEADTAIL_COREML_OK;
        }
        NSError *fault = nil;
        if (![files removeItemAtPath:target error:&fault]) {
            return headtail_failed(error, HEADTAIL_COREML_DISK, headtail_words(fault));
        }
    }
    NSError *fault = nil;
    NSURL *made = [MLModel compileModelAtURL:[NSURL fileURLWithPath:package] error:&fault];
    if (made == nil) {
        return headtail_failed(error, HEADTAIL_COREML_FILE, headtail_words(fault));
    }
    return keep(made, target, error);
}

int32_t headtail_coreml_compile(const char *package, const char *cache, const char *key,
                                int32_t again, headtail_coreml_text *compiled,
                                headtail_coreml_text *error) {
    NSAutoreleasePool *pool = [[NSAutoreleasePool alloc] init];
    int32_t status;
    @try {
        NSString *path = headtail_text_of(package);
        NSString *name = headtail_text_of(key);
        NSString *target = [cache_folder(headtail_text_of(cache))
            stringByAppendingPathComponent:[NSString stringWithFormat:@"%@.mlmodelc", name]];
        const char *utf8 = [target fileSystemRepresentation];
        if (path == nil || !is_key(name)) {
            status = headtail_failed(error, HEADTAIL_COREML_ARGUMENT,
                            @"A package and a key of letters, digits and ._- are needed.");
        } else if (compiled == NULL || compiled->data == NULL || strlen(utf8) >= compiled->size) {
            status = headtail_failed(error, HEADTAIL_COREML_ARGUMENT,
                            [NSString stringWithFormat:@"The compiled model's path does not fit: %@",
                                                       target]);
        } else {
            status = compile(path, target, again != 0, error);
            if (status == HEADTAIL_COREML_OK) {
                headtail_put(compiled, utf8);
            }
        }
    } @catch (NSException *exception) {
        status = headtail_raised(error, HEADTAIL_COREML_FILE, exception);
    }
    [pool release];
    return status;
}
