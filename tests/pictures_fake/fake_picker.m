// UIKit and PhotosUI: a window, and a picker that waits for the test to choose.
#import "fake_pictures.h"

#import <PhotosUI/PhotosUI.h>

#include <pthread.h>

void *_NSConcreteGlobalBlock[32];

// A block as the ABI lays it out: what a system with blocks would call.
struct block {
    void *isa;
    int flags;
    int reserved;
    void (*invoke)(const void *block, NSURL *file, NSError *fault);
};

static int32_t has_window = 1;
static int32_t presenting_raises = 0;
static UIViewController *root = nil;

void fake_pictures_window(int32_t there, int32_t raises) {
    has_window = there;
    presenting_raises = raises;
}

@interface UIViewController (Fake)
- (BOOL)coversTheScreen;
- (void)forget;
@end

@implementation UIViewController
- (UIViewController *)presentedViewController {
    return presented;
}

- (void)setModalPresentationStyle:(UIModalPresentationStyle)wanted {
    style = wanted;
}

- (BOOL)coversTheScreen {
    return style == UIModalPresentationFullScreen;
}

- (void)presentViewController:(UIViewController *)shown
                     animated:(BOOL)animated
                   completion:(const void *)completion {
    if (presenting_raises || presented != nil || !animated || completion != NULL) {
        [NSException raise:NSInternalInconsistencyException format:@"cannot present"];
    }
    presented = [shown retain];
}

- (void)dismissViewControllerAnimated:(BOOL)animated completion:(const void *)completion {
    (void)animated;
    (void)completion;
    [root forget];
}

- (void)forget {
    [presented autorelease];
    presented = nil;
}
@end

@implementation UIWindow
- (UIViewController *)rootViewController {
    if (root == nil) {
        root = [[UIViewController alloc] init];
    }
    return root;
}
@end

@implementation UIApplication
+ (UIApplication *)sharedApplication {
    static UIApplication *application = nil;
    if (application == nil) {
        application = [[UIApplication alloc] init];
    }
    return application;
}

- (UIWindow *)keyWindow {
    return has_window ? [[[UIWindow alloc] init] autorelease] : nil;
}
@end

@implementation PHPickerFilter
+ (PHPickerFilter *)imagesFilter {
    return [[[PHPickerFilter alloc] init] autorelease];
}
@end

@implementation PHPickerConfiguration
- (void)setFilter:(PHPickerFilter *)wanted {
    filter = [wanted retain];
}

- (void)setSelectionLimit:(NSInteger)wanted {
    limit = wanted;
}

- (void)setPreferredAssetRepresentationMode:(PHPickerConfigurationAssetRepresentationMode)wanted {
    mode = wanted;
}

- (void)dealloc {
    [filter release];
    [super dealloc];
}
@end

@implementation PHPickerViewController
- (id)initWithConfiguration:(PHPickerConfiguration *)given {
    self = [super init];
    configuration = [given retain];
    return self;
}

- (void)setDelegate:(id<PHPickerViewControllerDelegate>)listener {
    delegate = listener;
}

- (void)dealloc {
    [configuration release];
    [super dealloc];
}
@end

// --- the chosen photo ----------------------------------------------------------------------------

// Not a subclass: GNUstep's NSItemProvider may be larger than its header says.
@interface FakeItem : NSObject {
@public
    NSString *path, *type, *fault;
    const struct block *handler;
}
@end

static void *answer(void *given) {
    NSAutoreleasePool *pool = [[NSAutoreleasePool alloc] init];
    FakeItem *item = given;
    NSError *error = nil;
    NSURL *file = item->fault == nil ? [NSURL fileURLWithPath:item->path] : nil;
    if (item->fault != nil) {
        NSDictionary *info = [NSDictionary dictionaryWithObject:item->fault
                                                         forKey:NSLocalizedDescriptionKey];
        error = [NSError errorWithDomain:@"NSItemProviderErrorDomain" code:-1000 userInfo:info];
    }
    item->handler->invoke(item->handler, file, error);
    [[NSFileManager defaultManager] removeItemAtPath:item->path error:NULL];
    [item release];
    [pool release];
    return NULL;
}

@implementation FakeItem
- (BOOL)hasItemConformingToTypeIdentifier:(NSString *)asked {
    return [type isEqual:asked] || ([type length] > 0 && [asked isEqual:@"public.image"]);
}

- (NSProgress *)loadFileRepresentationForTypeIdentifier:(NSString *)asked
                                      completionHandler:(GSProviderURLCompletionHandler)given {
    (void)asked;
    handler = (const struct block *)given;
    pthread_t thread;
    [self retain];
    pthread_create(&thread, NULL, answer, self);
    pthread_detach(thread);
    return nil;
}

- (void)dealloc {
    [path release];
    [type release];
    [fault release];
    [super dealloc];
}
@end

@interface FakeResult : PHPickerResult {
@public
    FakeItem *item;
}
@end

@implementation PHPickerResult
- (NSItemProvider *)itemProvider {
    return nil;
}
@end

@implementation FakeResult
- (NSItemProvider *)itemProvider {
    return (NSItemProvider *)(id)item;
}

- (void)dealloc {
    [item release];
    [super dealloc];
}
@end

static PHPickerViewController *shown(void) {
    return (PHPickerViewController *)[root presentedViewController];
}

int32_t fake_pictures_shown(void) {
    PHPickerViewController *picker = shown();
    if (picker == nil) {
        return -1;
    }
    PHPickerConfiguration *asked = picker->configuration;
    return (int32_t)([picker coversTheScreen] * 1000 + (asked->filter != nil) * 100 +
                     (int32_t)asked->mode * 10 + (int32_t)asked->limit);
}

static NSString *text(const char *utf8) {
    return utf8 != NULL ? [[NSString alloc] initWithUTF8String:utf8] : nil;
}

void fake_pictures_choose(const char *path, const char *type, const char *fault) {
    NSAutoreleasePool *pool = [[NSAutoreleasePool alloc] init];
    PHPickerViewController *picker = [[shown() retain] autorelease];
    NSArray *results = [NSArray array];
    if (path != NULL) {
        FakeResult *result = [[[FakeResult alloc] init] autorelease];
        result->item = [[FakeItem alloc] init];
        result->item->path = text(path);
        result->item->type = text(type);
        result->item->fault = text(fault);
        results = [NSArray arrayWithObject:result];
    }
    [picker->delegate picker:picker didFinishPicking:results];
    [pool release];
}
