// The native half of the stand-in for LiteRT's Java classes, on the C API of a desk's libLiteRt.
//
// The wheel ships the library without its headers, so what is called is declared here
// (https://github.com/google-ai-edge/LiteRT/tree/main/litert/c, 2.1.6 and newer).

#include <jni.h>

#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <vector>

struct RankedTensorType {
  char bytes[72];
};

using Handle = void*;

extern "C" {
int LiteRtCreateEnvironment(int, const void*, Handle*);
int LiteRtCreateModelFromFile(Handle, const char*, Handle*);
int LiteRtCreateOptions(Handle*);
int LiteRtSetOptionsHardwareAccelerators(Handle, int);
int LiteRtCreateCompiledModel(Handle, Handle, Handle, Handle*);
int LiteRtGetNumModelSignatures(Handle, size_t*);
int LiteRtGetModelSignature(Handle, size_t, Handle*);
int LiteRtGetSignatureKey(Handle, const char**);
int LiteRtGetNumSignatureInputs(Handle, size_t*);
int LiteRtGetNumSignatureOutputs(Handle, size_t*);
int LiteRtGetSignatureInputName(Handle, size_t, const char**);
int LiteRtGetSignatureOutputName(Handle, size_t, const char**);
int LiteRtGetSignatureInputTensorByIndex(Handle, size_t, Handle*);
int LiteRtGetSignatureOutputTensorByIndex(Handle, size_t, Handle*);
int LiteRtGetRankedTensorType(Handle, RankedTensorType*);
int LiteRtGetCompiledModelInputBufferRequirements(Handle, size_t, size_t, Handle*);
int LiteRtGetCompiledModelOutputBufferRequirements(Handle, size_t, size_t, Handle*);
int LiteRtCreateManagedTensorBufferFromRequirements(
    Handle, const RankedTensorType*, Handle, Handle*);
int LiteRtGetTensorBufferPackedSize(Handle, size_t*);
int LiteRtLockTensorBuffer(Handle, void**, int);
int LiteRtUnlockTensorBuffer(Handle);
int LiteRtRunCompiledModel(Handle, size_t, size_t, Handle*, size_t, Handle*);
void LiteRtDestroyTensorBuffer(Handle);
void LiteRtDestroyCompiledModel(Handle);
void LiteRtDestroyOptions(Handle);
void LiteRtDestroyModel(Handle);
void LiteRtDestroyEnvironment(Handle);
}

namespace {

struct Loaded {
  Handle environment = nullptr;
  Handle model = nullptr;
  Handle options = nullptr;
  Handle compiled = nullptr;

  ~Loaded() {
    if (compiled) LiteRtDestroyCompiledModel(compiled);
    if (options) LiteRtDestroyOptions(options);
    if (model) LiteRtDestroyModel(model);
    if (environment) LiteRtDestroyEnvironment(environment);
  }
};

std::string text(JNIEnv* env, jobject value) {
  auto string = static_cast<jstring>(value);
  const char* chars = env->GetStringUTFChars(string, nullptr);
  std::string copy(chars);
  env->ReleaseStringUTFChars(string, chars);
  return copy;
}

// true if an exception is now pending
bool failed(JNIEnv* env, int status, const char* what) {
  if (status == 0) return false;
  jclass type = env->FindClass("com/google/ai/edge/litert/LiteRtException");
  env->Throw(static_cast<jthrowable>(env->NewObject(
      type,
      env->GetMethodID(type, "<init>", "(ILjava/lang/String;)V"),
      status,
      env->NewStringUTF(what))));
  return true;
}

struct Signature {
  size_t index = 0;
  Handle handle = nullptr;
};

bool find(JNIEnv* env, Loaded* loaded, const std::string& key, Signature* found) {
  size_t count = 0;
  LiteRtGetNumModelSignatures(loaded->model, &count);
  for (size_t i = 0; i < count; ++i) {
    const char* name = nullptr;
    LiteRtGetModelSignature(loaded->model, i, &found->handle);
    LiteRtGetSignatureKey(found->handle, &name);
    found->index = i;
    if (key == name) return true;
  }
  failed(env, 6, "Signature not found");
  return false;
}

std::vector<std::string> names_of(Handle signature, bool input) {
  size_t count = 0;
  (input ? LiteRtGetNumSignatureInputs : LiteRtGetNumSignatureOutputs)(signature, &count);
  std::vector<std::string> names;
  for (size_t i = 0; i < count; ++i) {
    const char* name = nullptr;
    (input ? LiteRtGetSignatureInputName : LiteRtGetSignatureOutputName)(signature, i, &name);
    names.emplace_back(name);
  }
  return names;
}

std::vector<Handle> in_file_order(
    JNIEnv* env, Handle signature, bool input, jobjectArray keys, jlongArray handles) {
  std::map<std::string, Handle> named;
  std::vector<jlong> longs(env->GetArrayLength(handles));
  env->GetLongArrayRegion(handles, 0, longs.size(), longs.data());
  for (size_t i = 0; i < longs.size(); ++i) {
    named[text(env, env->GetObjectArrayElement(keys, i))] = reinterpret_cast<Handle>(longs[i]);
  }
  std::vector<Handle> ordered;
  for (const auto& name : names_of(signature, input)) {
    ordered.push_back(named[name]);
  }
  return ordered;
}

void copy(JNIEnv* env, jlong handle, jobject array, jint bytes, bool write) {
  auto buffer = reinterpret_cast<Handle>(handle);
  void* address = nullptr;
  if (failed(env, LiteRtLockTensorBuffer(buffer, &address, write ? 1 : 0), "lock")) return;
  auto primitive = static_cast<jarray>(array);
  void* data = env->GetPrimitiveArrayCritical(primitive, nullptr);
  std::memcpy(write ? address : data, write ? data : address, bytes);
  env->ReleasePrimitiveArrayCritical(primitive, data, 0);
  LiteRtUnlockTensorBuffer(buffer);
}

} // namespace

extern "C" {

JNIEXPORT jlong JNICALL Java_com_google_ai_edge_litert_CompiledModel_nativeCreate(
    JNIEnv* env, jclass, jstring path, jint accelerators, jint) {
  auto loaded = std::make_unique<Loaded>();
  if (failed(env, LiteRtCreateEnvironment(0, nullptr, &loaded->environment), "environment") ||
      failed(
          env,
          LiteRtCreateModelFromFile(
              loaded->environment, text(env, path).c_str(), &loaded->model),
          "Failed to load model from file") ||
      failed(env, LiteRtCreateOptions(&loaded->options), "options") ||
      failed(
          env, LiteRtSetOptionsHardwareAccelerators(loaded->options, accelerators), "options") ||
      failed(
          env,
          LiteRtCreateCompiledModel(
              loaded->environment, loaded->model, loaded->options, &loaded->compiled),
          "Failed to compile model")) {
    return 0;
  }
  return reinterpret_cast<jlong>(loaded.release());
}

JNIEXPORT jlong JNICALL Java_com_google_ai_edge_litert_CompiledModel_nativeCreateBuffer(
    JNIEnv* env, jclass, jlong handle, jstring key, jstring name, jboolean input) {
  auto* loaded = reinterpret_cast<Loaded*>(handle);
  Signature signature;
  if (!find(env, loaded, text(env, key), &signature)) return 0;
  auto names = names_of(signature.handle, input);
  for (size_t i = 0; i < names.size(); ++i) {
    if (names[i] != text(env, name)) continue;
    Handle tensor = nullptr;
    Handle requirements = nullptr;
    Handle buffer = nullptr;
    RankedTensorType type;
    (input ? LiteRtGetSignatureInputTensorByIndex : LiteRtGetSignatureOutputTensorByIndex)(
        signature.handle, i, &tensor);
    LiteRtGetRankedTensorType(tensor, &type);
    (input ? LiteRtGetCompiledModelInputBufferRequirements
           : LiteRtGetCompiledModelOutputBufferRequirements)(
        loaded->compiled, signature.index, i, &requirements);
    failed(
        env,
        LiteRtCreateManagedTensorBufferFromRequirements(
            loaded->environment, &type, requirements, &buffer),
        "Failed to create buffer");
    return reinterpret_cast<jlong>(buffer);
  }
  failed(env, 6, "Tensor not found");
  return 0;
}

JNIEXPORT void JNICALL Java_com_google_ai_edge_litert_CompiledModel_nativeRun(
    JNIEnv* env,
    jclass,
    jlong handle,
    jstring key,
    jobjectArray input_names,
    jlongArray inputs,
    jobjectArray output_names,
    jlongArray outputs) {
  auto* loaded = reinterpret_cast<Loaded*>(handle);
  Signature signature;
  if (!find(env, loaded, text(env, key), &signature)) return;
  auto given = in_file_order(env, signature.handle, true, input_names, inputs);
  auto taken = in_file_order(env, signature.handle, false, output_names, outputs);
  failed(
      env,
      LiteRtRunCompiledModel(
          loaded->compiled, signature.index, given.size(), given.data(), taken.size(), taken.data()),
      "Failed to run");
}

JNIEXPORT void JNICALL
Java_com_google_ai_edge_litert_CompiledModel_nativeDestroy(JNIEnv*, jclass, jlong handle) {
  delete reinterpret_cast<Loaded*>(handle);
}

JNIEXPORT jint JNICALL
Java_com_google_ai_edge_litert_TensorBuffer_nativeSize(JNIEnv* env, jclass, jlong handle) {
  size_t size = 0;
  failed(env, LiteRtGetTensorBufferPackedSize(reinterpret_cast<Handle>(handle), &size), "size");
  return static_cast<jint>(size);
}

JNIEXPORT void JNICALL Java_com_google_ai_edge_litert_TensorBuffer_nativeWrite(
    JNIEnv* env, jclass, jlong handle, jobject array, jint bytes) {
  copy(env, handle, array, bytes, true);
}

JNIEXPORT void JNICALL Java_com_google_ai_edge_litert_TensorBuffer_nativeRead(
    JNIEnv* env, jclass, jlong handle, jobject array, jint bytes) {
  copy(env, handle, array, bytes, false);
}

JNIEXPORT void JNICALL
Java_com_google_ai_edge_litert_TensorBuffer_nativeDestroy(JNIEnv*, jclass, jlong handle) {
  LiteRtDestroyTensorBuffer(reinterpret_cast<Handle>(handle));
}
}
