// The arithmetic of products.cc, compiled once for each instruction set that VTC_FORM names; nothing is called here, so
// that no code for a newer processor is shared with an older one's. Vectors are the compilers' own, a register each.
#include <cstdint>
#include <cstring>
#include <utility>
#if defined(__AVX2__)
#include <immintrin.h>
#endif

#if defined(__clang__)
#define VTC_SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define VTC_SHUFFLE(a, b, ...) __builtin_shuffle(a, b, (words){__VA_ARGS__})
#endif
#define VTC_JOIN2(a, b) a##b
#define VTC_JOIN(a, b) VTC_JOIN2(a, b)

namespace {
#if defined(__AVX512F__)
constexpr int lanes = 16;
#elif defined(__AVX2__)
constexpr int lanes = 8;
#else
constexpr int lanes = 4;  // SSE2, NEON
#endif
typedef float floats __attribute__((vector_size(4 * lanes)));
typedef uint32_t words __attribute__((vector_size(4 * lanes)));
typedef uint16_t halves __attribute__((vector_size(2 * lanes)));

template <class V, class T>
inline V load(const T* p) {
  V v;
  memcpy(&v, p, sizeof v);
  return v;
}

// bfloat16 is the upper half of a float.
struct Bf16 {
  static floats widen(halves h) { return (floats)(__builtin_convertvector(h, words) << 16); }
};

// float16: exponent 5 bits with bias 15, fraction 10. Below 2^-14 the fraction counts alone, at 31 the exponent is all ones.
struct F16 {
#if defined(__AVX512F__)
  static floats widen(halves h) { return (floats)_mm512_cvtph_ps((__m256i)h); }
#elif defined(__F16C__)
  static floats widen(halves h) { return (floats)_mm256_cvtph_ps((__m128i)h); }
#elif defined(__aarch64__)
  static floats widen(halves h) { return __builtin_convertvector((__fp16 __attribute__((vector_size(8))))h, floats); }
#else
  static floats widen(halves h) {
    const words all = __builtin_convertvector(h, words);
    const words sign = (all & 0x8000) << 16, magnitude = (all & 0x7fff) << 13;
    const words exponent = magnitude & 0x0f800000;
    const words usual = magnitude + ((127 - 15) << 23);
    const words infinite = (words)(exponent == 0x0f800000) & ((255 - 31 - 112) << 23);
    const words one = (words){} + (113u << 23);  // 2^-14
    const floats small = (floats)(magnitude + one) - (floats)one;
    const words subnormal = (words)(exponent == 0);
    return (floats)(sign | (subnormal & (words)small) | (~subnormal & (usual + infinite)));
  }
#endif
};

inline float sum(floats v) {
  float s = 0;
  for (int i = 0; i < lanes; i++) s += v[i];
  return s;
}

// A group of M rows of x against R rows of w at once, so that what is read of either serves the other.
template <class Format, int M>
void dots(const float* x, const uint16_t* w, float* y, int64_t K, int64_t N, int64_t from, int64_t to) {
  constexpr int R = M == 1 ? 4 : 2;
  for (int64_t n = from; n < to; n += R) {
    const int64_t rows = to - n < R ? to - n : R;
    const uint16_t* row[R];
    for (int r = 0; r < R; r++) row[r] = w + (n + (r < rows ? r : rows - 1)) * K;
    floats even[R][M] = {}, odd[R][M] = {};
    int64_t k = 0;
    for (; k + 2 * lanes <= K; k += 2 * lanes) {
      for (int r = 0; r < R; r++) {
        __builtin_prefetch(row[r] + k + 512);
        const floats a = Format::widen(load<halves>(row[r] + k));
        const floats b = Format::widen(load<halves>(row[r] + k + lanes));
        for (int m = 0; m < M; m++) {
          even[r][m] += a * load<floats>(x + m * K + k);
          odd[r][m] += b * load<floats>(x + m * K + k + lanes);
        }
      }
    }
    for (int r = 0; r < rows; r++) {
      for (int m = 0; m < M; m++) {
        float s = sum(even[r][m] + odd[r][m]);
        for (int64_t t = k; t < K; t++) s += Format::widen((halves){row[r][t]})[0] * x[m * K + t];
        y[m * N + n + r] = s;
      }
    }
  }
}

template <class Format>
void times(const float* x, const uint16_t* w, float* y, int64_t M, int64_t K, int64_t N, int64_t from, int64_t to) {
  int64_t m = 0;
  for (; m + 4 <= M; m += 4) dots<Format, 4>(x + m * K, w, y + m * N, K, N, from, to);
  switch (M - m) {
    case 3: return dots<Format, 3>(x + m * K, w, y + m * N, K, N, from, to);
    case 2: return dots<Format, 2>(x + m * K, w, y + m * N, K, N, from, to);
    case 1: return dots<Format, 1>(x + m * K, w, y + m * N, K, N, from, to);
  }
}

// Of two vectors, seen as blocks of D values: the even blocks of both side by side, and the odd ones.
template <int D, size_t... I>
inline void exchange(floats& a, floats& b, std::index_sequence<I...>) {
  const floats even = VTC_SHUFFLE(a, b, (I & D ? lanes + I - D : I)...);
  b = VTC_SHUFFLE(a, b, (I & D ? lanes + I : I + D)...);
  a = even;
}

// Transposes a square of values in registers: blocks of 1, then of 2, 4, ... change places.
template <int D = 1>
inline void transpose(floats (&v)[lanes]) {
  if constexpr (D < lanes) {
    for (int i = 0; i < lanes; i++) {
      if (!(i & D)) exchange<D>(v[i], v[i + D], std::make_index_sequence<lanes>());
    }
    transpose<2 * D>(v);
  }
}

// Past the caches, where that can be: what is written is too much for them, and reading it first costs as much as writing.
struct Past {
#if defined(__AVX512F__)
  static void store(float* to, floats v) { _mm512_stream_ps(to, (__m512)v); }
#elif defined(__AVX2__)
  static void store(float* to, floats v) { _mm256_stream_ps(to, (__m256)v); }
#else
  static void store(float* to, floats v) { memcpy(to, &v, sizeof v); }
#endif
};
struct Through {
  static void store(float* to, floats v) { memcpy(to, &v, sizeof v); }
};

// Strips of 16 rows, so that what is written fills whole cache lines; what is left over at the edges goes one by one.
template <class Format, class Store>
void turn(const uint16_t* w, float* t, int64_t K, int64_t N, int64_t from, int64_t to) {
  constexpr int strip = 16;
  const int64_t wholeK = K / lanes * lanes;
  for (int64_t n = from; n < to; n += strip) {
    const int64_t rows = to - n < strip ? to - n : strip;
    if (rows == strip) {
      for (int64_t k = 0; k < wholeK; k += lanes) {
        for (int64_t r = 0; r < strip; r += lanes) {
          floats square[lanes];
          for (int i = 0; i < lanes; i++) square[i] = Format::widen(load<halves>(w + (n + r + i) * K + k));
          transpose(square);
          for (int i = 0; i < lanes; i++) Store::store(t + (k + i) * N + n + r, square[i]);
        }
      }
    }
    for (int64_t k = rows == strip ? wholeK : 0; k < K; k++) {
      for (int64_t r = 0; r < rows; r++) t[k * N + n + r] = Format::widen((halves){w[(n + r) * K + k]})[0];
    }
  }
}
}  // namespace

// y[m][n] = sum over k of x[m][k] * w[n][k], for from <= n < to. w is 16-bit [N, K], float16 or else bfloat16.
extern "C" void VTC_JOIN(vtc_times_, VTC_FORM)(bool f16, const float* x, const uint16_t* w, float* y, int64_t M, int64_t K,
                                               int64_t N, int64_t from, int64_t to) {
  return f16 ? times<F16>(x, w, y, M, K, N, from, to) : times<Bf16>(x, w, y, M, K, N, from, to);
}

// t[k][n] = w[n][k] as floats, for from <= n < to.
extern "C" void VTC_JOIN(vtc_turn_, VTC_FORM)(bool f16, const uint16_t* w, float* t, int64_t K, int64_t N, int64_t from,
                                              int64_t to) {
  const bool aligned = ((uintptr_t)t | (4 * N) | (4 * from)) % 64 == 0;
  if (aligned) {
    f16 ? turn<F16, Past>(w, t, K, N, from, to) : turn<Bf16, Past>(w, t, K, N, from, to);
  } else {
    f16 ? turn<F16, Through>(w, t, K, N, from, to) : turn<Bf16, Through>(w, t, K, N, from, to);
  }
#if defined(__AVX2__)
  _mm_sfence();  // before anybody is told that it is there
#endif
}
