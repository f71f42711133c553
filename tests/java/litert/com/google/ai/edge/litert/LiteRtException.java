package com.google.ai.edge.litert;

/** Stand-in for LiteRT's exception of the same name. */
public final class LiteRtException extends Exception {
  private final int code;

  public LiteRtException(int code, String message) {
    super(message + " (status " + code + ")");
    this.code = code;
  }
}
