// As far as ios/pictures/photo_picker.m uses it.
#import <Foundation/Foundation.h>

typedef enum {
    UIModalPresentationFullScreen = 0,
} UIModalPresentationStyle;

@interface UIViewController : NSObject {
    UIViewController *presented;
    UIModalPresentationStyle style;
}
- (UIViewController *)presentedViewController;
- (void)setModalPresentationStyle:(UIModalPresentationStyle)wanted;
- (void)presentViewController:(UIViewController *)shown
                     animated:(BOOL)animated
                   completion:(const void *)completion;
- (void)dismissViewControllerAnimated:(BOOL)animated completion:(const void *)completion;
@end

@interface UIWindow : NSObject
- (UIViewController *)rootViewController;
@end

@interface UIApplication : NSObject
+ (UIApplication *)sharedApplication;
- (UIWindow *)keyWindow;
@end
