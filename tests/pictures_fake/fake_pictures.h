// How a test steers the stand-in, by ctypes.
#import <Foundation/Foundation.h>

#include <stdint.h>

enum { FAKE_OK = 0, FAKE_ERROR = 1, FAKE_RAISES = 2 };

// Writes a JSON array of the codes' texts, or what is wrong, into `text`; returns one of the above.
typedef int32_t (*fake_decode)(const uint8_t *luma, int32_t width, int32_t height, int64_t stride,
                               char *text, uint64_t size);

void fake_pictures_decode(fake_decode answers);

// Objects of Core Graphics that were not released.
int32_t fake_pictures_held(void);

// Whether the app has a window, and whether showing something over it raises.
void fake_pictures_window(int32_t there, int32_t raises);

// What the picker that is on screen was asked for: images * 100 + mode * 10 + limit, + 1000 if it
// covers the screen; -1 if none is there.
int32_t fake_pictures_shown(void);

// The person chooses the file at `path`, of the type `type` ("" is no picture); both null: nothing.
// The system answers on a thread of its own, with the error `fault` if that is not null, and then
// deletes the file if it still has it.
void fake_pictures_choose(const char *path, const char *type, const char *fault);
