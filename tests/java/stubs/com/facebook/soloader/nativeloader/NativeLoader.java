package com.facebook.soloader.nativeloader;

/** Stand-in for SoLoader's entry, which exists for Android only. */
public final class NativeLoader {
  private static NativeLoaderDelegate delegate;

  private NativeLoader() {}

  public static synchronized boolean isInitialized() {
    return delegate != null;
  }

  public static synchronized void init(NativeLoaderDelegate chosen) {
    delegate = chosen;
  }

  public static boolean loadLibrary(String name) {
    return delegate.loadLibrary(name);
  }
}
