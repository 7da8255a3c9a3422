// Two operations for TensorFlow, on matrices that stay as a 16-bit file holds them, [N, K], two values in an int32:
//
//     VtcTimes  y = x * wT      x [M, K] float, w int32 [N, K/2] -> y [M, N]     reads w once, at the memory's speed
//     VtcTurn   t = wT          w int32 [N, K/2] -> t [K, N] float               for a product of many rows
//
// The sums are in float32. rows.cc does the arithmetic, once for each instruction set; which one runs is seen when this is
// loaded, or told by VTC_CLS_KERNEL.
#include <node_api.h>
#if defined(__linux__)
#include <sys/mman.h>
#endif

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "tensorflow/c/ops.h"
#include "tensorflow/c/tf_tensor.h"

// Of tensorflow/c/kernels.h, which includes what TensorFlow's packages leave out.
extern "C" {
struct TF_KernelBuilder;
struct TF_OpKernelConstruction;
struct TF_OpKernelContext;
TF_KernelBuilder* TF_NewKernelBuilder(const char* op, const char* device, void* (*create)(TF_OpKernelConstruction*),
                                      void (*compute)(void*, TF_OpKernelContext*), void (*destroy)(void*));
void TF_RegisterKernelBuilder(const char* name, TF_KernelBuilder*, TF_Status*);
void TF_GetInput(TF_OpKernelContext*, int i, TF_Tensor**, TF_Status*);
TF_Tensor* TF_AllocateOutput(TF_OpKernelContext*, int i, TF_DataType, const int64_t* dims, int count, size_t bytes,
                             TF_Status*);
void TF_OpKernelContext_Failure(TF_OpKernelContext*, TF_Status*);
}

#define VTC_DECLARE(form)                                                                                         \
  extern "C" void vtc_times_##form(bool, const float*, const uint16_t*, float*, int64_t, int64_t, int64_t, int64_t, int64_t); \
  extern "C" void vtc_turn_##form(bool, const uint16_t*, float*, int64_t, int64_t, int64_t, int64_t);
#define VTC_FORM_OF(form) {#form, vtc_times_##form, vtc_turn_##form}

#if defined(__x86_64__)
VTC_DECLARE(avx512)
VTC_DECLARE(avx2)
VTC_DECLARE(portable)
#elif defined(__aarch64__)
VTC_DECLARE(neon)
#else
VTC_DECLARE(portable)
#endif

namespace {
struct Form {
  const char* name;
  void (*times)(bool, const float*, const uint16_t*, float*, int64_t, int64_t, int64_t, int64_t, int64_t);
  void (*turn)(bool, const uint16_t*, float*, int64_t, int64_t, int64_t, int64_t);
};

// Those that this processor runs, the fastest first.
std::vector<Form> formsHere() {
  std::vector<Form> forms;
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512dq")) {
    forms.push_back(VTC_FORM_OF(avx512));
  }
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) forms.push_back(VTC_FORM_OF(avx2));
  forms.push_back(VTC_FORM_OF(portable));
#elif defined(__aarch64__)
  forms.push_back(VTC_FORM_OF(neon));
#else
  forms.push_back(VTC_FORM_OF(portable));
#endif
  return forms;
}

Form form;  // chosen at load

// Threads that share a job out. The caller is one of them; the others spin for a while before they sleep, for the next product
// follows soon. One job at a time: a graph may run several products at once.
class Pool {
 public:
  explicit Pool(int n) : n(n) {
    for (int i = 1; i < n; i++) std::thread([this] { serve(); }).detach();
  }

  // work(from, to) for parts of 0 .. count, `step` each.
  void share(int64_t count, int64_t step, const std::function<void(int64_t, int64_t)>& work) {
    std::lock_guard<std::mutex> only(oneJob);
    std::atomic<int64_t> next{0};
    const std::function<void()> part = [&] {
      for (int64_t from; (from = next.fetch_add(step)) < count;) work(from, from + step < count ? from + step : count);
    };
    {
      std::lock_guard<std::mutex> lock(mutex);
      job = &part;
      left.store(n - 1);
      turn.fetch_add(1);
    }
    wake.notify_all();
    part();
    for (int spins = 0; left.load(std::memory_order_acquire) > 0;) {
      if (++spins > 20000) std::this_thread::yield();
    }
  }

 private:
  void serve() {
    for (uint64_t seen = 0;;) {
      for (int spins = 0; turn.load(std::memory_order_acquire) == seen && spins < 20000; spins++) pause();
      if (turn.load(std::memory_order_acquire) == seen) {
        std::unique_lock<std::mutex> lock(mutex);
        wake.wait(lock, [&] { return turn.load() != seen; });
      }
      seen = turn.load();
      (*job)();
      left.fetch_sub(1, std::memory_order_release);
    }
  }

  static void pause() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
  }

  const int n;
  std::mutex oneJob, mutex;
  std::condition_variable wake;
  std::atomic<uint64_t> turn{0};
  std::atomic<int> left{0};
  const std::function<void()>* job = nullptr;
};

Pool& pool() {
  // Never destroyed: its threads may outlive static objects.
  static Pool* const made = new Pool(std::max(1u, std::thread::hardware_concurrency()));
  return *made;
}

// An operation's inputs and output, freed at its end; what goes wrong becomes the operation's own failure.
class Call {
 public:
  explicit Call(TF_OpKernelContext* context) : context(context), status(TF_NewStatus()) {}
  ~Call() {
    if (TF_GetCode(status) != TF_OK) TF_OpKernelContext_Failure(context, status);
    for (TF_Tensor* tensor : tensors) TF_DeleteTensor(tensor);
    TF_DeleteStatus(status);
  }
  TF_Tensor* input(int i) {
    TF_Tensor* tensor = nullptr;
    TF_GetInput(context, i, &tensor, status);
    return keep(tensor);
  }
  TF_Tensor* output(int64_t rows, int64_t columns) {
    const int64_t dims[2] = {rows, columns};
    return keep(TF_AllocateOutput(context, 0, TF_FLOAT, dims, 2, 4 * rows * columns, status));
  }
  bool require(bool holds, const char* message) {
    if (!holds) TF_SetStatus(status, TF_INVALID_ARGUMENT, message);
    return holds;
  }
  bool ok() const { return TF_GetCode(status) == TF_OK; }

 private:
  TF_Tensor* keep(TF_Tensor* tensor) {
    if (tensor) tensors.push_back(tensor);
    return tensor;
  }
  TF_OpKernelContext* const context;
  TF_Status* const status;
  std::vector<TF_Tensor*> tensors;
};

// Half a megabyte of weights a part, in whole groups of rows.
int64_t stepOf(int64_t K) { return std::max<int64_t>(16, (int64_t(1) << 18) / std::max<int64_t>(K, 1) / 16 * 16); }

template <bool f16>
void times(void*, TF_OpKernelContext* context) {
  Call call(context);
  TF_Tensor *x = call.input(0), *w = call.input(1);
  if (!call.ok()) return;
  if (!call.require(TF_NumDims(x) == 2 && TF_NumDims(w) == 2, "VtcTimes: both should be matrices")) return;
  const int64_t M = TF_Dim(x, 0), K = TF_Dim(x, 1), N = TF_Dim(w, 0);
  if (!call.require(2 * TF_Dim(w, 1) == K, "VtcTimes: x should have as many columns as w has values in a row")) return;
  TF_Tensor* y = call.output(M, N);
  if (!call.ok()) return;
  const auto* from = static_cast<const float*>(TF_TensorData(x));
  const auto* weights = static_cast<const uint16_t*>(TF_TensorData(w));
  auto* to = static_cast<float*>(TF_TensorData(y));
  pool().share(N, stepOf(K), [&](int64_t a, int64_t b) { form.times(f16, from, weights, to, M, K, N, a, b); });
}

template <bool f16>
void turnOver(void*, TF_OpKernelContext* context) {
  Call call(context);
  TF_Tensor* w = call.input(0);
  if (!call.ok()) return;
  if (!call.require(TF_NumDims(w) == 2, "VtcTurn: w should be a matrix")) return;
  const int64_t N = TF_Dim(w, 0), K = 2 * TF_Dim(w, 1);
  TF_Tensor* t = call.output(K, N);
  if (!call.ok()) return;
  const auto* weights = static_cast<const uint16_t*>(TF_TensorData(w));
  auto* to = static_cast<float*>(TF_TensorData(t));
  pool().share(N, stepOf(K), [&](int64_t a, int64_t b) { form.turn(f16, weights, to, K, N, a, b); });
}

void* noState(TF_OpKernelConstruction*) { return nullptr; }
void deleteNothing(void*) {}

using Compute = void (*)(void*, TF_OpKernelContext*);

// Returns what is wrong, or nothing.
std::string add(const char* name, const std::vector<const char*>& inputs, Compute compute) {
  TF_Status* status = TF_NewStatus();
  TF_OpDefinitionBuilder* op = TF_NewOpDefinitionBuilder(name);
  for (const char* input : inputs) TF_OpDefinitionBuilderAddInput(op, input);
  TF_OpDefinitionBuilderAddOutput(op, "result: float");
  TF_OpDefinitionBuilderSetShapeInferenceFunction(op, [](TF_ShapeInferenceContext* context, TF_Status* status) {
    TF_ShapeInferenceContextSetUnknownShape(context, status);
  });
  TF_RegisterOpDefinition(op, status);
  if (TF_GetCode(status) == TF_OK) {
    TF_RegisterKernelBuilder(name, TF_NewKernelBuilder(name, "CPU", noState, compute, deleteNothing), status);
  }
  std::string wrong = TF_GetCode(status) == TF_OK ? "" : TF_Message(status);
  TF_DeleteStatus(status);
  return wrong;
}

std::string start() {
  const std::vector<Form> forms = formsHere();
  form = forms.front();
  if (const char* asked = std::getenv("VTC_CLS_KERNEL")) {
    std::string names;
    bool found = false;
    for (const Form& one : forms) {
      if (one.name == std::string(asked)) form = one, found = true;
      names += (names.empty() ? "" : ", ") + std::string(one.name);
    }
    if (!found) return std::string("VTC_CLS_KERNEL is \"") + asked + "\"; this processor runs " + names;
  }
  std::string wrong;
  if (wrong.empty()) wrong = add("VtcTimesBf16", {"x: float", "w: int32"}, times<false>);
  if (wrong.empty()) wrong = add("VtcTimesF16", {"x: float", "w: int32"}, times<true>);
  if (wrong.empty()) wrong = add("VtcTurnBf16", {"w: int32"}, turnOver<false>);
  if (wrong.empty()) wrong = add("VtcTurnF16", {"w: int32"}, turnOver<true>);
  return wrong;
}
// useHugePages(array): asks the system for pages of 2 MiB where the array's bytes will come to lie. Of small ones a token's step
// touches three million, and finding each takes longer than reading it.
napi_value useHugePages(napi_env env, napi_callback_info info) {
#if defined(MADV_HUGEPAGE)
  size_t count = 1, bytes = 0;
  napi_value array;
  void* data = nullptr;
  if (napi_get_cb_info(env, info, &count, &array, nullptr, nullptr) == napi_ok && count == 1 &&
      napi_get_typedarray_info(env, array, nullptr, &bytes, &data, nullptr, nullptr) == napi_ok && data) {
    const uintptr_t page = 4096, from = (reinterpret_cast<uintptr_t>(data) + page - 1) / page * page;
    const uintptr_t to = (reinterpret_cast<uintptr_t>(data) + bytes) / page * page;  // of a Uint8Array
    if (from < to) madvise(reinterpret_cast<void*>(from), to - from, MADV_HUGEPAGE);  // advice: it may be refused
  }
#endif
  return nullptr;
}
}  // namespace

// exports.form, the instruction set, and exports.useHugePages; or an error that says what is wrong.
NAPI_MODULE_INIT() {
  static const std::string wrong = start();  // once a process: an operation's name is taken once
  if (!wrong.empty()) {
    napi_throw_error(env, nullptr, wrong.c_str());
    return exports;
  }
  napi_value name;
  napi_create_string_utf8(env, form.name, NAPI_AUTO_LENGTH, &name);
  napi_set_named_property(env, exports, "form", name);
  napi_value function;
  napi_create_function(env, "useHugePages", NAPI_AUTO_LENGTH, useHugePages, nullptr, &function);
  napi_set_named_property(env, exports, "useHugePages", function);
  return exports;
}
