// The system's photo picker and its reader of QR codes behind a plain C interface, for
// app/sources/pictures_bridge.py (ctypes).
//
// Compiled into the app and found through dlopen(NULL). Every function returns a status of the enum
// below and says what is wrong as UTF-8 in `error`, cut to its size; no exception leaves it, and no
// pointer but those of the call is kept.
#ifndef HEADTAIL_PICTURES_BRIDGE_H
#define HEADTAIL_PICTURES_BRIDGE_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define HEADTAIL_PICTURES_ABI 1

// Found by name at run time only: `used` keeps the linker from dropping what nobody calls.
#define HEADTAIL_PICTURES_EXPORT __attribute__((used, visibility("default")))

enum headtail_pictures_status {
    HEADTAIL_PICTURES_OK = 0,
    HEADTAIL_PICTURES_ARGUMENT = 1,  // the caller's mistake: a null pointer, another thread
    HEADTAIL_PICTURES_SYSTEM = 2,    // this system is too old, or shows no window
    HEADTAIL_PICTURES_BUSY = 3,      // the picker is open already
    HEADTAIL_PICTURES_FAILED = 4,    // the system could not do it
    HEADTAIL_PICTURES_WAITING = 5,   // nothing was chosen yet
    HEADTAIL_PICTURES_NOTHING = 6,   // the person chose nothing
};

// Where text is written, NUL included; `data` may be null when `size` is 0.
typedef struct {
    char *data;
    uint64_t size;
} headtail_pictures_text;

// HEADTAIL_PICTURES_ABI of the library, whatever else changed.
HEADTAIL_PICTURES_EXPORT int32_t headtail_pictures_abi(void);

// The system's version as text.
HEADTAIL_PICTURES_EXPORT int32_t headtail_pictures_system(headtail_pictures_text *version);

// The QR codes in `height` rows of `width` bytes of grey, `stride` bytes apart. `texts` becomes a
// JSON array of strings. On any thread; the memory is read during the call only.
HEADTAIL_PICTURES_EXPORT int32_t headtail_pictures_codes(const uint8_t *luma, int32_t width,
                                                         int32_t height, int64_t stride,
                                                         headtail_pictures_text *texts,
                                                         headtail_pictures_text *error);

// Show the system's photos over the app, on the main thread; *ticket is what to wait with.
HEADTAIL_PICTURES_EXPORT int32_t headtail_pictures_pick(int64_t *ticket,
                                                        headtail_pictures_text *error);

// Wait so long for the answer, on any thread but the main one. OK: `path` becomes that of a file
// with the photo as the system gave it (JPEG where it can; its orientation in EXIF), which is the
// caller's to delete.
HEADTAIL_PICTURES_EXPORT int32_t headtail_pictures_wait(int64_t ticket, int32_t milliseconds,
                                                        headtail_pictures_text *path,
                                                        headtail_pictures_text *error);

#ifdef __cplusplus
}
#endif

#endif
