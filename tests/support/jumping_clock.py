"""A wall clock that jumps, for one process and its C libraries: a library to preload.

libfaketime also stands in for sleeping and waiting, by any clock, and makes both wrong in a process
with threads (seen with 0.9.10: a lock's timeout is waited for to its end, `time.sleep` fails). This
one replaces the three functions that tell the time of day and nothing else.
"""

from __future__ import annotations

import os
import struct
import subprocess
from pathlib import Path

__all__ = ["jump", "jumping_clock"]

VARIABLE = "WALL_CLOCK_OFFSET"
SOURCE = """
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t *offset;

__attribute__((constructor)) static void begin(void) {
    int file = open(getenv("WALL_CLOCK_OFFSET"), O_RDONLY);
    void *page = mmap(NULL, sizeof *offset, PROT_READ, MAP_SHARED, file, 0);
    if (page != MAP_FAILED) offset = page;
    close(file);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int failed = syscall(SYS_clock_gettime, clock, now);
    int wall = clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE;
    if (!failed && wall && offset) now->tv_sec += *offset;
    return failed;
}

int gettimeofday(struct timeval *now, void *zone) {
    struct timespec spec;
    (void)zone;
    int failed = clock_gettime(CLOCK_REALTIME, &spec);
    now->tv_sec = spec.tv_sec;
    now->tv_usec = spec.tv_nsec / 1000;
    return failed;
}

time_t time(time_t *now) {
    struct timespec spec;
    clock_gettime(CLOCK_REALTIME, &spec);
    if (now) *now = spec.tv_sec;
    return spec.tv_sec;
}
"""


def jumping_clock(folder: Path) -> dict[str, str]:
    """The environment of a process whose clock `jump` moves; needs a C compiler, `cc`."""
    library, offset = folder / "wall_clock.so", folder / "offset"
    subprocess.run(
        ["cc", "-x", "c", "-shared", "-fPIC", "-O1", "-o", str(library), "-"],
        input=SOURCE,
        text=True,
        check=True,
    )
    offset.write_bytes(struct.pack("q", 0))
    return {"LD_PRELOAD": str(library), VARIABLE: str(offset)}


def jump(seconds: int) -> None:
    """Move this process's wall clock so far from the true one."""
    with Path(os.environ[VARIABLE]).open("r+b") as file:
        file.write(struct.pack("q", seconds))
