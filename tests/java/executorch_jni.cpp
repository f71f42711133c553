// The native half of org.pytorch.executorch.{Module,Tensor,EValue}, on the desk's libexecutorch.
//
// Stands in for libexecutorch_jni.so, which exists for Android's libc only. The Java half is the
// real classes.jar; what they pass and expect was read from their signatures. Outputs are handed
// out as the module's own memory, without a copy, so that a reader which keeps one is found out.

#include <jni.h>

#include <memory>
#include <string>
#include <vector>

#include <executorch/extension/module/module.h>
#include <executorch/extension/tensor/tensor.h>

// libexecutorch_threadpool exports this; the wheel leaves its header out
namespace executorch::extension::threadpool {
class ThreadPool {
 public:
  bool _unsafe_reset_threadpool(uint32_t threads);
};
ThreadPool* get_threadpool();
} // namespace executorch::extension::threadpool

using executorch::aten::ScalarType;
using executorch::extension::from_blob;
using executorch::extension::Module;
using executorch::extension::TensorPtr;
using executorch::runtime::Error;
using executorch::runtime::EValue;

namespace {

constexpr const char* kEValue = "org/pytorch/executorch/EValue";
constexpr const char* kTensor = "org/pytorch/executorch/Tensor";

std::string text(JNIEnv* env, jstring value) {
  const char* chars = env->GetStringUTFChars(value, nullptr);
  std::string copy(chars);
  env->ReleaseStringUTFChars(value, chars);
  return copy;
}

void raise(JNIEnv* env, Error error, const std::string& message) {
  jclass type = env->FindClass("org/pytorch/executorch/ExecutorchRuntimeException");
  jmethodID make = env->GetMethodID(type, "<init>", "(ILjava/lang/String;)V");
  env->Throw(static_cast<jthrowable>(env->NewObject(
      type, make, static_cast<jint>(error), env->NewStringUTF(message.c_str()))));
}

Module* module_of(JNIEnv* env, jobject self) {
  jfieldID field = env->GetFieldID(
      env->GetObjectClass(self), "mHybridData", "Lcom/facebook/jni/HybridData;");
  jobject held = env->GetObjectField(self, field);
  jmethodID pointer = env->GetMethodID(env->GetObjectClass(held), "pointer", "()J");
  return reinterpret_cast<Module*>(env->CallLongMethod(held, pointer));
}

jobjectArray strings(JNIEnv* env, const std::vector<std::string>& values) {
  jobjectArray made = env->NewObjectArray(values.size(), env->FindClass("java/lang/String"), nullptr);
  for (size_t i = 0; i < values.size(); ++i) {
    env->SetObjectArrayElement(made, i, env->NewStringUTF(values[i].c_str()));
  }
  return made;
}

TensorPtr tensor_of(JNIEnv* env, jobject value) {
  jobject tensor = env->CallObjectMethod(
      value,
      env->GetMethodID(env->FindClass(kEValue), "toTensor", "()Lorg/pytorch/executorch/Tensor;"));
  jclass type = env->FindClass(kTensor);
  jint code = env->CallIntMethod(tensor, env->GetMethodID(type, "dtypeJniCode", "()I"));
  jobject buffer = env->CallObjectMethod(
      tensor, env->GetMethodID(type, "getRawDataBuffer", "()Ljava/nio/Buffer;"));
  auto shape = static_cast<jlongArray>(
      env->GetObjectField(tensor, env->GetFieldID(type, "shape", "[J")));
  std::vector<jlong> longs(env->GetArrayLength(shape));
  env->GetLongArrayRegion(shape, 0, longs.size(), longs.data());
  std::vector<executorch::aten::SizesType> sizes(longs.begin(), longs.end());
  return from_blob(
      env->GetDirectBufferAddress(buffer), std::move(sizes), static_cast<ScalarType>(code));
}

jobject value_of(JNIEnv* env, const executorch::aten::Tensor& tensor) {
  jobject bytes = env->NewDirectByteBuffer(tensor.mutable_data_ptr(), tensor.nbytes());
  jclass order = env->FindClass("java/nio/ByteOrder");
  jobject native = env->CallStaticObjectMethod(
      order, env->GetStaticMethodID(order, "nativeOrder", "()Ljava/nio/ByteOrder;"));
  env->CallObjectMethod(
      bytes,
      env->GetMethodID(
          env->FindClass("java/nio/ByteBuffer"),
          "order",
          "(Ljava/nio/ByteOrder;)Ljava/nio/ByteBuffer;"),
      native);
  std::vector<jlong> sizes(tensor.sizes().begin(), tensor.sizes().end());
  jlongArray shape = env->NewLongArray(sizes.size());
  env->SetLongArrayRegion(shape, 0, sizes.size(), sizes.data());
  jclass type = env->FindClass(kTensor);
  jobject made = env->CallStaticObjectMethod(
      type,
      env->GetStaticMethodID(
          type,
          "nativeNewTensor",
          "(Ljava/nio/ByteBuffer;[JILcom/facebook/jni/HybridData;)Lorg/pytorch/executorch/Tensor;"),
      bytes,
      shape,
      static_cast<jint>(tensor.scalar_type()),
      nullptr);
  if (made == nullptr) {
    return nullptr;
  }
  jclass value = env->FindClass(kEValue);
  return env->CallStaticObjectMethod(
      value,
      env->GetStaticMethodID(
          value, "from", "(Lorg/pytorch/executorch/Tensor;)Lorg/pytorch/executorch/EValue;"),
      made);
}

jobjectArray methods(JNIEnv* env, jobject self) {
  auto names = module_of(env, self)->method_names();
  if (!names.ok()) {
    raise(env, names.error(), "Failed to get methods");
    return nullptr;
  }
  return strings(env, {names->begin(), names->end()});
}

} // namespace

extern "C" {

JNIEXPORT void JNICALL
Java_com_facebook_jni_HybridData_free(JNIEnv*, jclass, jlong pointer) {
  delete reinterpret_cast<Module*>(pointer);
}

JNIEXPORT jobject JNICALL Java_org_pytorch_executorch_Module_initHybrid(
    JNIEnv* env, jclass, jstring path, jint mode, jint threads) {
  constexpr Module::LoadMode kModes[] = {
      Module::LoadMode::File,
      Module::LoadMode::Mmap,
      Module::LoadMode::MmapUseMlock,
      Module::LoadMode::MmapUseMlockIgnoreErrors};
  if (threads > 0) {
    executorch::extension::threadpool::get_threadpool()->_unsafe_reset_threadpool(threads);
  }
  jclass type = env->FindClass("com/facebook/jni/HybridData");
  auto* module = new Module(text(env, path), kModes[mode]);
  return env->NewObject(
      type, env->GetMethodID(type, "<init>", "(J)V"), reinterpret_cast<jlong>(module));
}

// the older generation's name, then the newer's
JNIEXPORT jobjectArray JNICALL
Java_org_pytorch_executorch_Module_getMethods(JNIEnv* env, jobject self) {
  return methods(env, self);
}

JNIEXPORT jobjectArray JNICALL
Java_org_pytorch_executorch_Module_getMethodsNative(JNIEnv* env, jobject self) {
  return methods(env, self);
}

JNIEXPORT jobjectArray JNICALL Java_org_pytorch_executorch_Module_getUsedBackends(
    JNIEnv* env, jobject self, jstring) {
  return strings(env, {});
}

JNIEXPORT jint JNICALL Java_org_pytorch_executorch_Module_loadMethodNative(
    JNIEnv* env, jobject self, jstring name) {
  return static_cast<jint>(module_of(env, self)->load_method(text(env, name)));
}

JNIEXPORT jobjectArray JNICALL Java_org_pytorch_executorch_Module_executeNative(
    JNIEnv* env, jobject self, jstring name, jobjectArray given) {
  std::vector<TensorPtr> kept;
  std::vector<EValue> inputs;
  for (jsize i = 0; i < env->GetArrayLength(given); ++i) {
    kept.push_back(tensor_of(env, env->GetObjectArrayElement(given, i)));
    inputs.emplace_back(kept.back());
  }
  auto outputs = module_of(env, self)->execute(text(env, name), inputs);
  if (!outputs.ok()) {
    raise(env, outputs.error(), "Execution failed for method: " + text(env, name));
    return nullptr;
  }
  jobjectArray made = env->NewObjectArray(outputs->size(), env->FindClass(kEValue), nullptr);
  for (size_t i = 0; i < outputs->size(); ++i) {
    jobject value = value_of(env, outputs->at(i).toTensor());
    if (value == nullptr) {
      return nullptr;
    }
    env->SetObjectArrayElement(made, i, value);
  }
  return made;
}
}
