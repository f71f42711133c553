// See coreml_bridge.h. Plain retain and release (-fno-objc-arc), no blocks and no object literals,
// so that the same files compile with Xcode and, against a stand-in for Core ML, with gcc and
// GNUstep, where their tests run (tests/coreml_fake).
//
// Objects made here are autoreleased at once: an exception then leaks nothing.
#import "coreml_internal.h"

#include <mach/mach.h>
#include <pthread.h>
#include <string.h>

@implementation HeadtailCoreMLModel
- (id)initWithModel:(MLModel *)aModel {
    self = [super init];
    if (self != nil) {
        model = [aModel retain];
        turn = [[NSLock alloc] init];
    }
    return self;
}

- (void)dealloc {
    [model release];
    [turn release];
    [super dealloc];
}

- (MLModel *)model {
    return model;
}

- (NSLock *)turn {
    return turn;
}
@end

// Handle -> model; a number that was closed is never given again.
static pthread_mutex_t table_lock = PTHREAD_MUTEX_INITIALIZER;
static NSMutableDictionary *table = nil;
static int64_t last_handle = 0;

// --- text ----------------------------------------------------------------------------------------

void headtail_put(headtail_coreml_text *text, const char *utf8) {
    if (text == NULL || text->data == NULL || text->size == 0) {
        return;
    }
    size_t length = strlen(utf8);
    if (length >= text->size) {
        length = (size_t)text->size - 1;
        while (length > 0 && ((unsigned char)utf8[length] & 0xC0) == 0x80) {
            length--;
        }
    }
    memcpy(text->data, utf8, length);
    text->data[length] = '\0';
}

int32_t headtail_failed(headtail_coreml_text *error, int32_t status, NSString *said) {
    const char *utf8 = [said UTF8String];
    headtail_put(error, utf8 != NULL ? utf8 : "no reason given");
    return status;
}

NSString *headtail_words(NSError *fault) {
    NSString *said = [fault localizedDescription];
    NSError *below = [[fault userInfo] objectForKey:NSUnderlyingErrorKey];
    if (said == nil) {
        return @"no reason given";
    }
    if (below == nil || [below localizedDescription] == nil) {
        return said;
    }
    return [NSString stringWithFormat:@"%@ (%@)", said, [below localizedDescription]];
}

int32_t headtail_raised(headtail_coreml_text *error, int32_t status, NSException *exception) {
    return headtail_failed(error, status,
                           [NSString stringWithFormat:@"%@: %@", [exception name],
                                                      [exception reason]]);
}

NSString *headtail_text_of(const char *utf8) {
    NSString *text = utf8 != NULL ? [NSString stringWithUTF8String:utf8] : nil;
    return [text length] > 0 ? text : nil;
}

// --- the table of open models --------------------------------------------------------------------

static int64_t enter(HeadtailCoreMLModel *opened) {
    pthread_mutex_lock(&table_lock);
    if (table == nil) {
        table = [[NSMutableDictionary alloc] init];
    }
    int64_t handle = ++last_handle;
    [table setObject:opened forKey:[NSNumber numberWithLongLong:handle]];
    pthread_mutex_unlock(&table_lock);
    return handle;
}

HeadtailCoreMLModel *headtail_find(int64_t handle) {
    pthread_mutex_lock(&table_lock);
    HeadtailCoreMLModel *found = [table objectForKey:[NSNumber numberWithLongLong:handle]];
    [[found retain] autorelease];
    pthread_mutex_unlock(&table_lock);
    return found;
}

int32_t headtail_closed(headtail_coreml_text *error, int64_t handle) {
    return headtail_failed(error, HEADTAIL_COREML_CLOSED,
                  [NSString stringWithFormat:@"No open model has the handle %lld.",
                                             (long long)handle]);
}

// --- this system ---------------------------------------------------------------------------------

int32_t headtail_coreml_abi(void) {
    return HEADTAIL_COREML_ABI;
}

// Asked of the class, not of a version number: what answers is what will be called.
static BOOL has_functions(void) {
    return [MLModelConfiguration instancesRespondToSelector:@selector(setFunctionName:)];
}

int32_t headtail_coreml_system(int32_t *functions, headtail_coreml_text *version) {
    if (functions == NULL) {
        return HEADTAIL_COREML_ARGUMENT;
    }
    NSAutoreleasePool *pool = [[NSAutoreleasePool alloc] init];
    *functions = has_functions() ? 1 : 0;
    headtail_put(version, [[[NSProcessInfo processInfo] operatingSystemVersionString] UTF8String]);
    [pool release];
    return HEADTAIL_COREML_OK;
}

int32_t headtail_coreml_footprint(uint64_t *bytes) {
    task_vm_info_data_t info;
    mach_msg_type_number_t count = TASK_VM_INFO_COUNT;
    if (bytes == NULL ||
        task_info(mach_task_self(), TASK_VM_INFO, (task_info_t)&info, &count) != KERN_SUCCESS) {
        return HEADTAIL_COREML_ARGUMENT;
    }
    *bytes = info.phys_footprint;
    return HEADTAIL_COREML_OK;
}

// --- opening -------------------------------------------------------------------------------------

static int32_t open_model(NSString *path, NSString *function, int32_t units, int64_t *handle,
                          headtail_coreml_text *error) {
    MLModelConfiguration *asked = [[[MLModelConfiguration alloc] init] autorelease];
    [asked setComputeUnits:(MLComputeUnits)units];
    if (function != nil) {
        if (!has_functions()) {
            return headtail_failed(error, HEADTAIL_COREML_SYSTEM,
                          @"Several functions in one model need iOS 18 or macOS 15.");
        }
#ifdef __clang__
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wunguarded-availability"
#pragma clang diagnostic ignored "-Wunguarded-availability-new"
#endif
        [asked setFunctionName:function];  // has_functions() asked the class itself
#ifdef __clang__
#pragma clang diagnostic pop
#endif
    }
    NSError *fault = nil;
    MLModel *model = [MLModel modelWithContentsOfURL:[NSURL fileURLWithPath:path]
                                       configuration:asked
                                               error:&fault];
    if (model == nil) {
        return headtail_failed(error, HEADTAIL_COREML_FILE, headtail_words(fault));
    }
    *handle = enter([[[HeadtailCoreMLModel alloc] initWithModel:model] autorelease]);
    return HEADTAIL_COREML_OK;
}

int32_t headtail_coreml_open(const char *compiled, const char *function, int32_t units,
                             int64_t *handle, headtail_coreml_text *error) {
    NSAutoreleasePool *pool = [[NSAutoreleasePool alloc] init];
    int32_t status;
    @try {
        NSString *path = headtail_text_of(compiled);
        BOOL known = units >= MLComputeUnitsCPUOnly && units <= MLComputeUnitsCPUAndNeuralEngine;
        if (path == nil || handle == NULL || !known) {
            status = headtail_failed(error, HEADTAIL_COREML_ARGUMENT,
                            @"A path, known compute units and room for a handle are needed.");
        } else {
            status = open_model(path, headtail_text_of(function), units, handle, error);
        }
    } @catch (NSException *exception) {
        status = headtail_raised(error, HEADTAIL_COREML_FILE, exception);
    }
    [pool release];
    return status;
}

int32_t headtail_coreml_close(int64_t handle, headtail_coreml_text *error) {
    NSAutoreleasePool *pool = [[NSAutoreleasePool alloc] init];
    NSNumber *key = [NSNumber numberWithLongLong:handle];
    pthread_mutex_lock(&table_lock);
    HeadtailCoreMLModel *found = [[[table objectForKey:key] retain] autorelease];
    [table removeObjectForKey:key];
    pthread_mutex_unlock(&table_lock);
    int32_t status = found != nil ? HEADTAIL_COREML_OK : headtail_closed(error, handle);
    [pool release];  // the model goes here, outside the lock
    return status;
}

// --- describing ----------------------------------------------------------------------------------

// Dense tensors of Core ML have up to five axes; more than the header's limit is a broken file.
static BOOL put_sizes(NSArray *from, int64_t *to, int32_t *rank) {
    NSUInteger count = [from count];
    if (count > HEADTAIL_COREML_MAX_RANK) {
        return NO;
    }
    for (NSUInteger axis = 0; axis < count; axis++) {
        to[axis] = [[from objectAtIndex:axis] longLongValue];
    }
    *rank = (int32_t)count;
    return YES;
}

static int32_t describe_one(NSString *name, MLFeatureDescription *feature,
                            headtail_coreml_tensor *into, headtail_coreml_text *error) {
    const char *utf8 = [name UTF8String];
    MLMultiArrayConstraint *array = [feature multiArrayConstraint];
    if (array == nil) {
        return headtail_failed(error, HEADTAIL_COREML_TENSOR,
                      [NSString stringWithFormat:@"%@ is no multi-array.", name]);
    }
    memset(into, 0, sizeof *into);
    if (strlen(utf8) >= HEADTAIL_COREML_NAME_BYTES ||
        !put_sizes([array shape], into->shape, &into->rank)) {
        return headtail_failed(error, HEADTAIL_COREML_TENSOR,
                      [NSString stringWithFormat:@"%@ has too long a name or shape.", name]);
    }
    memcpy(into->name, utf8, strlen(utf8));
    into->dtype = (int32_t)[array dataType];
    return HEADTAIL_COREML_OK;
}

static NSDictionary *features_of(MLModel *model, int32_t side) {
    MLModelDescription *description = [model modelDescription];
    return side == HEADTAIL_COREML_INPUTS ? [description inputDescriptionsByName]
                                          : [description outputDescriptionsByName];
}

static int32_t describe(NSDictionary *features, headtail_coreml_tensor *tensors, int32_t *count,
                        headtail_coreml_text *error) {
    NSArray *names = [[features allKeys] sortedArrayUsingSelector:@selector(compare:)];
    int32_t room = *count;
    *count = (int32_t)[names count];
    if (*count > room) {
        return headtail_failed(error, HEADTAIL_COREML_ARGUMENT,
                      [NSString stringWithFormat:@"There are %d tensors and room for %d.", *count,
                                                 room]);
    }
    for (int32_t i = 0; i < *count; i++) {
        NSString *name = [names objectAtIndex:(NSUInteger)i];
        int32_t status = describe_one(name, [features objectForKey:name], &tensors[i], error);
        if (status != HEADTAIL_COREML_OK) {
            return status;
        }
    }
    return HEADTAIL_COREML_OK;
}

int32_t headtail_coreml_describe(int64_t handle, int32_t side, headtail_coreml_tensor *tensors,
                                 int32_t *count, headtail_coreml_text *error) {
    NSAutoreleasePool *pool = [[NSAutoreleasePool alloc] init];
    int32_t status;
    @try {
        HeadtailCoreMLModel *found = headtail_find(handle);
        BOOL known = side == HEADTAIL_COREML_INPUTS || side == HEADTAIL_COREML_OUTPUTS;
        if (found == nil) {
            status = headtail_closed(error, handle);
        } else if (tensors == NULL || count == NULL || *count < 0 || !known) {
            status = headtail_failed(error, HEADTAIL_COREML_ARGUMENT,
                            @"A known side and room for tensors are needed.");
        } else {
            status = describe(features_of([found model], side), tensors, count, error);
        }
    } @catch (NSException *exception) {
        status = headtail_raised(error, HEADTAIL_COREML_TENSOR, exception);
    }
    [pool release];
    return status;
}
