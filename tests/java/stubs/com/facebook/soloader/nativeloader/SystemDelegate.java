package com.facebook.soloader.nativeloader;

/** Stand-in: loads the JNI library of this test, whatever name is asked for. */
public class SystemDelegate implements NativeLoaderDelegate {
  @Override
  public boolean loadLibrary(String name) {
    System.load(System.getProperty("headtail.executorch.jni"));
    return true;
  }
}
