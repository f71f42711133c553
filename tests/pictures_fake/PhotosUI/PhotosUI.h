// As far as ios/pictures/photo_picker.m uses it.
#import <UIKit/UIKit.h>

typedef enum {
    PHPickerConfigurationAssetRepresentationModeCompatible = 2,
} PHPickerConfigurationAssetRepresentationMode;

@class PHPickerViewController;

@protocol PHPickerViewControllerDelegate <NSObject>
- (void)picker:(PHPickerViewController *)picker didFinishPicking:(NSArray *)results;
@end

@interface PHPickerFilter : NSObject
+ (PHPickerFilter *)imagesFilter;
@end

@interface PHPickerConfiguration : NSObject {
@public
    PHPickerFilter *filter;
    NSInteger limit;
    PHPickerConfigurationAssetRepresentationMode mode;
}
- (void)setFilter:(PHPickerFilter *)filter;
- (void)setSelectionLimit:(NSInteger)limit;
- (void)setPreferredAssetRepresentationMode:(PHPickerConfigurationAssetRepresentationMode)mode;
@end

@interface PHPickerResult : NSObject
- (NSItemProvider *)itemProvider;
@end

@interface PHPickerViewController : UIViewController {
@public
    PHPickerConfiguration *configuration;
    id<PHPickerViewControllerDelegate> delegate;
}
- (id)initWithConfiguration:(PHPickerConfiguration *)given;
- (void)setDelegate:(id<PHPickerViewControllerDelegate>)listener;
@end
