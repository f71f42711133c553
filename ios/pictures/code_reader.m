// QR codes by Vision. See pictures_bridge.h; the rules of ios/coreml_bridge.m hold here as well:
// plain retain and release, no blocks and no object literals.
#import "pictures_internal.h"

#import <CoreGraphics/CoreGraphics.h>
#import <Vision/Vision.h>

#include <string.h>

static const int32_t kMaxSide = 16384;

// --- text ----------------------------------------------------------------------------------------

BOOL headtail_pictures_put(headtail_pictures_text *text, NSString *said) {
    const char *utf8 = [said UTF8String];
    if (text == NULL || text->data == NULL || utf8 == NULL || strlen(utf8) >= text->size) {
        return NO;
    }
    memcpy(text->data, utf8, strlen(utf8) + 1);
    return YES;
}

int32_t headtail_pictures_failed(headtail_pictures_text *error, int32_t status, NSString *said) {
    const char *utf8 = [said UTF8String];
    if (error == NULL || error->data == NULL || error->size == 0) {
        return status;
    }
    utf8 = utf8 != NULL ? utf8 : "no reason given";
    size_t length = strlen(utf8);
    if (length >= error->size) {
        length = (size_t)error->size - 1;
        while (length > 0 && ((unsigned char)utf8[length] & 0xC0) == 0x80) {
            length--;
        }
    }
    memcpy(error->data, utf8, length);
    error->data[length] = '\0';
    return status;
}

int32_t headtail_pictures_raised(headtail_pictures_text *error, NSException *exception) {
    return headtail_pictures_failed(error, HEADTAIL_PICTURES_FAILED,
                                    [NSString stringWithFormat:@"%@: %@", [exception name],
                                                               [exception reason]]);
}

NSString *headtail_pictures_words(NSError *fault) {
    NSString *said = [fault localizedDescription];
    return said != nil ? said : @"no reason given";
}

// --- this system ---------------------------------------------------------------------------------

int32_t headtail_pictures_abi(void) {
    return HEADTAIL_PICTURES_ABI;
}

int32_t headtail_pictures_system(headtail_pictures_text *version) {
    NSAutoreleasePool *pool = [[NSAutoreleasePool alloc] init];
    NSString *said = [[NSProcessInfo processInfo] operatingSystemVersionString];
    BOOL fits = headtail_pictures_put(version, said);
    [pool release];
    return fits ? HEADTAIL_PICTURES_OK : HEADTAIL_PICTURES_ARGUMENT;
}

// --- codes ---------------------------------------------------------------------------------------

static CGImageRef grey_image(const uint8_t *luma, int32_t width, int32_t height, int64_t stride) {
    CGColorSpaceRef grey = CGColorSpaceCreateDeviceGray();
    size_t row = (size_t)stride, rows = (size_t)height;
    CGDataProviderRef bytes = CGDataProviderCreateWithData(NULL, luma, row * rows, NULL);
    CGImageRef image = CGImageCreate((size_t)width, rows, 8, 8, row, grey, kCGImageAlphaNone, bytes,
                                     NULL, false, kCGRenderingIntentDefault);
    CGDataProviderRelease(bytes);
    CGColorSpaceRelease(grey);
    return image;
}

static NSArray *texts_in(CGImageRef image, NSError **fault) {
    VNImageRequestHandler *handler =
        [[[VNImageRequestHandler alloc] initWithCGImage:image
                                                options:[NSDictionary dictionary]] autorelease];
    VNDetectBarcodesRequest *request = [[[VNDetectBarcodesRequest alloc] init] autorelease];
    [request setSymbologies:[NSArray arrayWithObject:VNBarcodeSymbologyQR]];
    if (![handler performRequests:[NSArray arrayWithObject:request] error:fault]) {
        return nil;
    }
    NSMutableArray *texts = [NSMutableArray array];
    for (VNBarcodeObservation *seen in [request results]) {
        NSString *text = [seen payloadStringValue];
        if (text != nil) {  // a code of bytes that are no text
            [texts addObject:text];
        }
    }
    return texts;
}

static int32_t read_codes(CGImageRef image, headtail_pictures_text *texts,
                          headtail_pictures_text *error) {
    NSError *fault = nil;
    NSArray *found = image != NULL ? texts_in(image, &fault) : nil;
    if (found == nil) {
        return headtail_pictures_failed(error, HEADTAIL_PICTURES_FAILED,
                                        headtail_pictures_words(fault));
    }
    NSData *json = [NSJSONSerialization dataWithJSONObject:found options:0 error:&fault];
    NSString *said = [[[NSString alloc] initWithData:json
                                            encoding:NSUTF8StringEncoding] autorelease];
    if (json == nil || !headtail_pictures_put(texts, said)) {
        return headtail_pictures_failed(error, HEADTAIL_PICTURES_FAILED,
                                        @"The codes say more than there is room for.");
    }
    return HEADTAIL_PICTURES_OK;
}

int32_t headtail_pictures_codes(const uint8_t *luma, int32_t width, int32_t height, int64_t stride,
                                headtail_pictures_text *texts, headtail_pictures_text *error) {
    if (luma == NULL || texts == NULL || width < 1 || height < 1 || width > kMaxSide ||
        height > kMaxSide || stride < width || stride > kMaxSide * 4) {
        return headtail_pictures_failed(error, HEADTAIL_PICTURES_ARGUMENT,
                                        @"A picture of 1 to 16384 pixels a side is needed.");
    }
    NSAutoreleasePool *pool = [[NSAutoreleasePool alloc] init];
    int32_t status;
    CGImageRef image = grey_image(luma, width, height, stride);
    @try {
        status = read_codes(image, texts, error);
    } @catch (NSException *exception) {
        status = headtail_pictures_raised(error, exception);
    }
    CGImageRelease(image);
    [pool release];
    return status;
}
