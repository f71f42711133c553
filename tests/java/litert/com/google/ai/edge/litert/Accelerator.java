package com.google.ai.edge.litert;

/** Stand-in for LiteRT's enum of the same name. */
public enum Accelerator {
  NONE,
  CPU,
  GPU,
  NPU
}
