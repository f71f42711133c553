package com.facebook.soloader.nativeloader;

/** Stand-in, with the one method that is called. */
public interface NativeLoaderDelegate {
  boolean loadLibrary(String name);
}
