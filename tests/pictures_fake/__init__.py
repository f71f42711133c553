"""A stand-in for UIKit, PhotosUI, Vision and Core Graphics under GNUstep, as far as
`ios/pictures/*.m` uses them, so that those compile and run here.

The picker is a view controller that waits for the test to choose; what codes a picture holds is
answered by the test, with a reader that is real.
"""
