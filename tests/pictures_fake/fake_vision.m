// Vision and Core Graphics: bytes in, and the test says what codes they hold.
#import "fake_pictures.h"

#import <Vision/Vision.h>

#include <stdlib.h>

struct fake_space {
    int32_t grey;
};

struct fake_bytes {
    const uint8_t *data;
    size_t size;
};

struct fake_image {
    const uint8_t *data;
    int32_t width, height;
    int64_t stride;
};

NSString *const VNBarcodeSymbologyQR = @"VNBarcodeSymbologyQR";
static fake_decode decode = NULL;
static int32_t held = 0;  // objects of Core Graphics that were not released

void fake_pictures_decode(fake_decode answers) {
    decode = answers;
}

int32_t fake_pictures_held(void) {
    return held;
}

static void *made(size_t size) {
    held++;
    return calloc(1, size);
}

static void released(void *object) {
    if (object != NULL) {
        held--;
        free(object);
    }
}

CGColorSpaceRef CGColorSpaceCreateDeviceGray(void) {
    return made(sizeof(struct fake_space));
}

void CGColorSpaceRelease(CGColorSpaceRef space) {
    released(space);
}

CGDataProviderRef CGDataProviderCreateWithData(void *info, const void *data, size_t size,
                                               CGDataProviderReleaseDataCallback release) {
    CGDataProviderRef provider = made(sizeof(struct fake_bytes));
    (void)info;
    (void)release;
    provider->data = data;
    provider->size = size;
    return provider;
}

void CGDataProviderRelease(CGDataProviderRef provider) {
    released(provider);
}

CGImageRef CGImageCreate(size_t width, size_t height, size_t bitsPerComponent, size_t bitsPerPixel,
                         size_t bytesPerRow, CGColorSpaceRef space, uint32_t bitmapInfo,
                         CGDataProviderRef provider, const double *range, bool shouldInterpolate,
                         int32_t intent) {
    BOOL grey = bitsPerComponent == 8 && bitsPerPixel == 8 && bitmapInfo == kCGImageAlphaNone;
    if (!grey || space == NULL || range != NULL || shouldInterpolate || intent != 0 ||
        bytesPerRow < width || provider->size < bytesPerRow * height) {
        return NULL;
    }
    CGImageRef image = made(sizeof(struct fake_image));
    image->data = provider->data;
    image->width = (int32_t)width;
    image->height = (int32_t)height;
    image->stride = (int64_t)bytesPerRow;
    return image;
}

void CGImageRelease(CGImageRef image) {
    released(image);
}

@interface VNBarcodeObservation (Fake)
- (id)initWithPayload:(NSString *)text;
@end

@interface VNDetectBarcodesRequest (Fake)
- (NSError *)look:(CGImageRef)image;
@end

@implementation VNRequest
- (NSArray *)results {
    return results;
}

- (void)dealloc {
    [results release];
    [super dealloc];
}
@end

@implementation VNBarcodeObservation
- (id)initWithPayload:(NSString *)text {
    self = [super init];
    payload = [text copy];
    return self;
}

- (NSString *)payloadStringValue {
    return payload;
}

- (void)dealloc {
    [payload release];
    [super dealloc];
}
@end

@implementation VNDetectBarcodesRequest
- (void)setSymbologies:(NSArray *)wanted {
    symbologies = [wanted copy];
}

// What the test said: a JSON array of strings, null for a code that is no text.
- (NSError *)look:(CGImageRef)image {
    char text[1 << 16] = "";
    int32_t answer = FAKE_ERROR;
    if ([symbologies isEqual:[NSArray arrayWithObject:VNBarcodeSymbologyQR]]) {
        answer = decode(image->data, image->width, image->height, image->stride, text, sizeof text);
    }
    NSString *words = [NSString stringWithUTF8String:text];
    if (answer == FAKE_RAISES) {
        [NSException raise:@"VNException" format:@"%@", words];
    }
    if (answer == FAKE_ERROR) {
        NSDictionary *info = [NSDictionary dictionaryWithObject:words
                                                         forKey:NSLocalizedDescriptionKey];
        return [NSError errorWithDomain:@"VNErrorDomain" code:9 userInfo:info];
    }
    NSMutableArray *seen = [NSMutableArray array];
    for (id code in [NSJSONSerialization JSONObjectWithData:[words dataUsingEncoding:4]
                                                    options:0
                                                      error:NULL]) {
        NSString *payload = code == [NSNull null] ? nil : code;
        [seen addObject:[[[VNBarcodeObservation alloc] initWithPayload:payload] autorelease]];
    }
    results = [seen retain];
    return nil;
}

- (void)dealloc {
    [symbologies release];
    [super dealloc];
}
@end

@implementation VNImageRequestHandler
- (id)initWithCGImage:(CGImageRef)given options:(NSDictionary *)options {
    self = [super init];
    image = options != nil ? given : NULL;
    return self;
}

- (BOOL)performRequests:(NSArray *)requests error:(NSError **)error {
    for (VNDetectBarcodesRequest *request in requests) {
        NSError *fault = [request look:image];
        if (fault != nil) {
            *error = fault;
            return NO;
        }
    }
    return YES;
}
@end
