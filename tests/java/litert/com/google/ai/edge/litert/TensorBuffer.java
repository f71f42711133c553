package com.google.ai.edge.litert;

/** Stand-in for LiteRT's class of the same name, on the C API of a desk's libLiteRt. */
public final class TensorBuffer extends JniHandle {
  TensorBuffer(long handle) {
    super(handle);
  }

  public void writeInt(int[] data) throws LiteRtException {
    write(data, 4 * data.length);
  }

  public void writeFloat(float[] data) throws LiteRtException {
    write(data, 4 * data.length);
  }

  public void writeInt8(byte[] data) throws LiteRtException {
    write(data, data.length);
  }

  public void writeBoolean(boolean[] data) throws LiteRtException {
    write(data, data.length);
  }

  public void writeLong(long[] data) throws LiteRtException {
    write(data, 8 * data.length);
  }

  public int[] readInt() throws LiteRtException {
    int[] data = new int[size() / 4];
    nativeRead(handle, data, 4 * data.length);
    return data;
  }

  public float[] readFloat() throws LiteRtException {
    float[] data = new float[size() / 4];
    nativeRead(handle, data, 4 * data.length);
    return data;
  }

  public byte[] readInt8() throws LiteRtException {
    byte[] data = new byte[size()];
    nativeRead(handle, data, data.length);
    return data;
  }

  public boolean[] readBoolean() throws LiteRtException {
    boolean[] data = new boolean[size()];
    nativeRead(handle, data, data.length);
    return data;
  }

  public long[] readLong() throws LiteRtException {
    long[] data = new long[size() / 8];
    nativeRead(handle, data, 8 * data.length);
    return data;
  }

  @Override
  protected void destroy() {
    nativeDestroy(handle);
  }

  private void write(Object data, int bytes) throws LiteRtException {
    assertNotDestroyed();
    if (bytes > size()) {
      throw new LiteRtException(3, "TensorBuffer buffer size is smaller than the given data size");
    }
    nativeWrite(handle, data, bytes);
  }

  private int size() throws LiteRtException {
    assertNotDestroyed();
    return nativeSize(handle);
  }

  private static native int nativeSize(long handle) throws LiteRtException;

  private static native void nativeWrite(long handle, Object data, int bytes)
      throws LiteRtException;

  private static native void nativeRead(long handle, Object data, int bytes)
      throws LiteRtException;

  private static native void nativeDestroy(long handle);
}
