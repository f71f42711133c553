// As far as ios/pictures/code_reader.m uses it.
#import <CoreGraphics/CoreGraphics.h>

extern NSString *const VNBarcodeSymbologyQR;

@interface VNRequest : NSObject {
    NSArray *results;
}
- (NSArray *)results;
@end

@interface VNDetectBarcodesRequest : VNRequest {
    NSArray *symbologies;
}
- (void)setSymbologies:(NSArray *)wanted;
@end

@interface VNBarcodeObservation : NSObject {
    NSString *payload;
}
- (NSString *)payloadStringValue;
@end

@interface VNImageRequestHandler : NSObject {
    CGImageRef image;
}
- (id)initWithCGImage:(CGImageRef)given options:(NSDictionary *)options;
- (BOOL)performRequests:(NSArray *)requests error:(NSError **)error;
@end
