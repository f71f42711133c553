package com.google.ai.edge.litert;

import java.util.Collections;
import java.util.Map;
import java.util.Set;

/** Stand-in for LiteRT's class of the same name, on the C API of a desk's libLiteRt. */
public final class CompiledModel extends JniHandle {
  static {
    System.load(System.getProperty("headtail.litert.jni"));
  }

  /** Stand-in for the options of the CPU; what is null is the runtime's choice. */
  public static final class CpuOptions {
    private final Integer numThreads;

    public CpuOptions(Integer numThreads, Integer xnnPackFlags, String xnnPackWeightCachePath) {
      this.numThreads = numThreads;
    }
  }

  /** Stand-in for the options of a compilation. */
  public static final class Options {
    private final Set<? extends Accelerator> accelerators;
    private CpuOptions cpuOptions;

    public Options(Set<? extends Accelerator> accelerators) {
      this.accelerators = accelerators;
    }

    public Options(Accelerator... accelerators) {
      this.accelerators = Collections.singleton(accelerators[0]);
    }

    public void setCpuOptions(CpuOptions cpuOptions) {
      this.cpuOptions = cpuOptions;
    }
  }

  private CompiledModel(long handle) {
    super(handle);
  }

  public static CompiledModel create(String filePath, Options options) throws LiteRtException {
    int mask = 0;
    for (Accelerator one : options.accelerators) {
      mask |= 1 << (one.ordinal() - 1);
    }
    Integer threads = options.cpuOptions == null ? null : options.cpuOptions.numThreads;
    return new CompiledModel(nativeCreate(filePath, mask, threads == null ? 0 : threads));
  }

  public TensorBuffer createInputBuffer(String inputName, String signature)
      throws LiteRtException {
    assertNotDestroyed();
    return new TensorBuffer(nativeCreateBuffer(handle, signature, inputName, true));
  }

  public TensorBuffer createOutputBuffer(String outputName, String signature)
      throws LiteRtException {
    assertNotDestroyed();
    return new TensorBuffer(nativeCreateBuffer(handle, signature, outputName, false));
  }

  public void run(
      Map<String, TensorBuffer> inputs, Map<String, TensorBuffer> outputs, String signature)
      throws LiteRtException {
    assertNotDestroyed();
    nativeRun(
        handle, signature, names(inputs), handles(inputs), names(outputs), handles(outputs));
  }

  @Override
  protected void destroy() {
    nativeDestroy(handle);
  }

  private static String[] names(Map<String, TensorBuffer> buffers) {
    return buffers.keySet().toArray(new String[0]);
  }

  private static long[] handles(Map<String, TensorBuffer> buffers) {
    return buffers.values().stream().mapToLong(buffer -> buffer.handle).toArray();
  }

  private static native long nativeCreate(String path, int accelerators, int threads)
      throws LiteRtException;

  private static native long nativeCreateBuffer(
      long handle, String signature, String name, boolean input) throws LiteRtException;

  private static native void nativeRun(
      long handle,
      String signature,
      String[] inputNames,
      long[] inputs,
      String[] outputNames,
      long[] outputs)
      throws LiteRtException;

  private static native void nativeDestroy(long handle);
}
