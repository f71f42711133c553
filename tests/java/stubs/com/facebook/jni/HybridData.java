package com.facebook.jni;

/** Stand-in for fbjni's holder of a native object, which exists for Android only. */
public class HybridData {
  private long pointer;

  public HybridData(long pointer) {
    this.pointer = pointer;
  }

  public synchronized void resetNative() {
    if (pointer != 0) {
      free(pointer);
      pointer = 0;
    }
  }

  public boolean isValid() {
    return pointer != 0;
  }

  public long pointer() {
    return pointer;
  }

  private static native void free(long pointer);
}
