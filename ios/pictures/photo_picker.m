// The system's photo picker. See pictures_bridge.h.
//
// PHPickerViewController hands the chosen photo over through a block. gcc, which compiles this file
// for its tests, has no blocks; so the one that is needed is written out as the ABI lays it out
// (https://clang.llvm.org/docs/Block-ABI-Apple.html). It is global: it captures nothing, and copying
// it gives the same one.
#import "pictures_internal.h"

#import <PhotosUI/PhotosUI.h>
#import <UIKit/UIKit.h>

#include <pthread.h>
#include <string.h>
#include <sys/time.h>

#ifdef __BLOCKS__
typedef void (^headtail_loaded)(NSURL *, NSError *);
#else
typedef GSProviderURLCompletionHandler headtail_loaded;  // GNUstep's name for it
#endif

struct headtail_block_descriptor {
    unsigned long reserved;
    unsigned long size;
    const char *signature;
};

struct headtail_block {
    void *isa;
    int flags;
    int reserved;
    void (*invoke)(const struct headtail_block *, NSURL *, NSError *);
    const struct headtail_block_descriptor *descriptor;
};

enum { kBlockIsGlobal = 1 << 28, kBlockHasSignature = 1 << 30 };

extern void *_NSConcreteGlobalBlock[32];
static void loaded(const struct headtail_block *block, NSURL *file, NSError *fault);
static const struct headtail_block_descriptor kDescriptor = {0, sizeof(struct headtail_block),
                                                             "v24@?0@8@16"};
static const struct headtail_block kLoaded = {_NSConcreteGlobalBlock,
                                              kBlockIsGlobal | kBlockHasSignature, 0, loaded,
                                              &kDescriptor};

// --- the one picker ------------------------------------------------------------------------------

// `answer` is WAITING while it is open, and what came of it afterwards, with `said`.
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t answered = PTHREAD_COND_INITIALIZER;
static int64_t current = 0;
static BOOL open_now = NO;
static int32_t answer = HEADTAIL_PICTURES_NOTHING;
static NSString *said = nil;

static void tell(int32_t status, NSString *words) {
    pthread_mutex_lock(&lock);
    [said release];
    said = [words copy];
    answer = status;
    open_now = NO;
    pthread_cond_broadcast(&answered);
    pthread_mutex_unlock(&lock);
}

// The system deletes its file when this returns, so it is moved: to a name of ours, in our folder.
static void keep(NSURL *file) {
    NSString *name = [[[NSProcessInfo processInfo] globallyUniqueString]
        stringByAppendingPathExtension:@"photo"];
    NSString *path = [NSTemporaryDirectory() stringByAppendingPathComponent:name];
    NSError *fault = nil;
    if ([[NSFileManager defaultManager] moveItemAtPath:[file path] toPath:path error:&fault]) {
        tell(HEADTAIL_PICTURES_OK, path);
    } else {
        tell(HEADTAIL_PICTURES_FAILED, headtail_pictures_words(fault));
    }
}

static void loaded(const struct headtail_block *block, NSURL *file, NSError *fault) {
    NSAutoreleasePool *pool = [[NSAutoreleasePool alloc] init];
    (void)block;
    @try {
        if (file != nil) {
            keep(file);
        } else {
            tell(HEADTAIL_PICTURES_FAILED, headtail_pictures_words(fault));
        }
    } @catch (NSException *exception) {
        tell(HEADTAIL_PICTURES_FAILED, [exception reason]);
    }
    [pool release];
}

// --- what the picker tells -----------------------------------------------------------------------

@interface HeadtailPhotoPicker : NSObject <PHPickerViewControllerDelegate>
@end

// JPEG first: asked for compatible photos, the system converts HEIC to it, which Pillow cannot read.
static NSString *type_of(NSItemProvider *item) {
    NSArray *types = [NSArray arrayWithObjects:@"public.jpeg", @"public.png", @"public.image", nil];
    for (NSString *type in types) {
        if ([item hasItemConformingToTypeIdentifier:type]) {
            return type;
        }
    }
    return nil;
}

static void take(NSArray *results) {
    if ([results count] == 0) {
        tell(HEADTAIL_PICTURES_NOTHING, @"");
        return;
    }
    NSItemProvider *item = [(PHPickerResult *)[results objectAtIndex:0] itemProvider];
    NSString *type = type_of(item);
    if (type == nil) {
        tell(HEADTAIL_PICTURES_FAILED, @"What was chosen is no picture.");
        return;
    }
    [item loadFileRepresentationForTypeIdentifier:type
                                completionHandler:(headtail_loaded)(uintptr_t)&kLoaded];
}

@implementation HeadtailPhotoPicker
- (void)picker:(PHPickerViewController *)picker didFinishPicking:(NSArray *)results {
    @try {
        [picker dismissViewControllerAnimated:YES completion:nil];
        take(results);
    } @catch (NSException *exception) {
        tell(HEADTAIL_PICTURES_FAILED, [exception reason]);
    }
}
@end

// Never freed: the picker keeps no hold of its delegate.
static HeadtailPhotoPicker *listener = nil;

static UIViewController *front(void) {
    UIViewController *shown =
        [[[UIApplication sharedApplication] keyWindow] rootViewController];
    while ([shown presentedViewController] != nil) {
        shown = [shown presentedViewController];
    }
    return shown;
}

static void show(UIViewController *over) {
    PHPickerConfiguration *wanted = [[[PHPickerConfiguration alloc] init] autorelease];
    [wanted setFilter:[PHPickerFilter imagesFilter]];
    [wanted setSelectionLimit:1];
    [wanted setPreferredAssetRepresentationMode:
                PHPickerConfigurationAssetRepresentationModeCompatible];
    PHPickerViewController *picker =
        [[[PHPickerViewController alloc] initWithConfiguration:wanted] autorelease];
    if (listener == nil) {
        listener = [[HeadtailPhotoPicker alloc] init];
    }
    [picker setDelegate:listener];
    // a sheet can be swiped away, of which a delegate need not hear
    [picker setModalPresentationStyle:UIModalPresentationFullScreen];
    [over presentViewController:picker animated:YES completion:nil];
}

static int32_t begin(int64_t *ticket, headtail_pictures_text *error) {
    if (NSClassFromString(@"PHPickerViewController") == Nil) {
        return headtail_pictures_failed(error, HEADTAIL_PICTURES_SYSTEM,
                                        @"This system has no photo picker; iOS 14 has.");
    }
    UIViewController *over = front();
    if (over == nil) {
        return headtail_pictures_failed(error, HEADTAIL_PICTURES_SYSTEM,
                                        @"The app has no window to show photos over.");
    }
    pthread_mutex_lock(&lock);
    BOOL busy = open_now;
    if (!busy) {
        open_now = YES;
        answer = HEADTAIL_PICTURES_WAITING;
        *ticket = ++current;
    }
    pthread_mutex_unlock(&lock);
    if (busy) {
        return headtail_pictures_failed(error, HEADTAIL_PICTURES_BUSY,
                                        @"The photos are shown already, or one is being fetched.");
    }
    show(over);
    return HEADTAIL_PICTURES_OK;
}

int32_t headtail_pictures_pick(int64_t *ticket, headtail_pictures_text *error) {
    if (ticket == NULL || ![NSThread isMainThread]) {
        return headtail_pictures_failed(error, HEADTAIL_PICTURES_ARGUMENT,
                                        @"Photos are shown from the main thread.");
    }
    NSAutoreleasePool *pool = [[NSAutoreleasePool alloc] init];
    int32_t status;
    *ticket = 0;
    @try {
        status = begin(ticket, error);
    } @catch (NSException *exception) {
        if (*ticket != 0) {
            tell(HEADTAIL_PICTURES_FAILED, [exception reason]);
        }
        status = headtail_pictures_raised(error, exception);
    }
    [pool release];
    return status;
}

// --- waiting -------------------------------------------------------------------------------------

static struct timespec in_milliseconds(int32_t milliseconds) {
    struct timeval now;
    gettimeofday(&now, NULL);
    int64_t nanos = (int64_t)now.tv_usec * 1000 + (int64_t)milliseconds * 1000000;
    struct timespec end;
    end.tv_sec = now.tv_sec + (time_t)(nanos / 1000000000);
    end.tv_nsec = (long)(nanos % 1000000000);
    return end;
}

// With the lock held.
static int32_t given(headtail_pictures_text *path, headtail_pictures_text *error) {
    int32_t status = answer;
    if (status == HEADTAIL_PICTURES_OK && !headtail_pictures_put(path, said)) {
        status = headtail_pictures_failed(error, HEADTAIL_PICTURES_ARGUMENT,
                                          @"The photo's path does not fit.");
    } else if (status == HEADTAIL_PICTURES_FAILED) {
        headtail_pictures_failed(error, status, said);
    }
    return status;
}

int32_t headtail_pictures_wait(int64_t ticket, int32_t milliseconds, headtail_pictures_text *path,
                               headtail_pictures_text *error) {
    NSAutoreleasePool *pool = [[NSAutoreleasePool alloc] init];
    struct timespec end = in_milliseconds(milliseconds > 0 ? milliseconds : 0);
    int32_t status;
    pthread_mutex_lock(&lock);
    while (ticket == current && answer == HEADTAIL_PICTURES_WAITING &&
           pthread_cond_timedwait(&answered, &lock, &end) == 0) {
    }
    if (ticket <= 0 || ticket != current) {
        status = headtail_pictures_failed(error, HEADTAIL_PICTURES_ARGUMENT,
                                          @"Nobody waits with that ticket.");
    } else {
        status = given(path, error);
    }
    pthread_mutex_unlock(&lock);
    [pool release];
    return status;
}
