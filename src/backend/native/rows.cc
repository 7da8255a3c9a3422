// The arithmetic of products.cc, compiled once for each instruction set that VTC_FORM names; no library is included here, so
// that nothing of a newer processor leaks into code that an older one runs. Vectors are the compilers' own, a register each.
#include <cstdint>
#include <cstring>
#if defined(__F16C__)
#include <immintrin.h>
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

// A rectangle of 16 rows at a time: what is written fills whole cache lines.
template <class Format>
void turn(const uint16_t* w, float* t, int64_t K, int64_t N, int64_t from, int64_t to) {
  constexpr int side = 16;
  for (int64_t n = from; n < to; n += side) {
    const int64_t rows = to - n < side ? to - n : side;
    for (int64_t k = 0; k < K; k += lanes) {
      const int64_t columns = K - k < lanes ? K - k : lanes;
      float turned[lanes][side];
      for (int64_t r = 0; r < rows; r++) {
        halves h = {};
        memcpy(&h, w + (n + r) * K + k, 2 * columns);
        const floats f = Format::widen(h);
        for (int c = 0; c < lanes; c++) turned[c][r] = f[c];
      }
      for (int64_t c = 0; c < columns; c++) memcpy(t + (k + c) * N + n, turned[c], 4 * rows);
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
  return f16 ? turn<F16>(w, t, K, N, from, to) : turn<Bf16>(w, t, K, N, from, to);
}
