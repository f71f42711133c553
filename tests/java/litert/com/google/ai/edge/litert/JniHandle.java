package com.google.ai.edge.litert;

import java.util.concurrent.atomic.AtomicBoolean;

/** Stand-in for LiteRT's owner of a native handle: used after close() it throws, as there. */
public abstract class JniHandle implements AutoCloseable {
  final long handle;
  private final AtomicBoolean destroyed = new AtomicBoolean(false);

  JniHandle(long handle) {
    this.handle = handle;
  }

  protected final void assertNotDestroyed() {
    if (destroyed.get()) {
      throw new IllegalStateException("The handle has been destroyed.");
    }
  }

  protected abstract void destroy();

  @Override
  public final void close() {
    if (destroyed.compareAndSet(false, true)) {
      destroy();
    }
  }
}
