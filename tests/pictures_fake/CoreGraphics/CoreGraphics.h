// As far as ios/pictures/code_reader.m uses it.
#import <Foundation/Foundation.h>

#include <stdbool.h>

typedef struct fake_space *CGColorSpaceRef;
typedef struct fake_bytes *CGDataProviderRef;
typedef struct fake_image *CGImageRef;
typedef void (*CGDataProviderReleaseDataCallback)(void *info, const void *data, size_t size);

enum { kCGImageAlphaNone = 0, kCGRenderingIntentDefault = 0 };

CGColorSpaceRef CGColorSpaceCreateDeviceGray(void);
void CGColorSpaceRelease(CGColorSpaceRef space);
CGDataProviderRef CGDataProviderCreateWithData(void *info, const void *data, size_t size,
                                               CGDataProviderReleaseDataCallback release);
void CGDataProviderRelease(CGDataProviderRef provider);
CGImageRef CGImageCreate(size_t width, size_t height, size_t bitsPerComponent, size_t bitsPerPixel,
                         size_t bytesPerRow, CGColorSpaceRef space, uint32_t bitmapInfo,
                         CGDataProviderRef provider, const double *decode, bool shouldInterpolate,
                         int32_t intent);
void CGImageRelease(CGImageRef image);
