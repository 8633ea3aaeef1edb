// Vectors of numbers: sums in a fixed order, exponentials.
//
// Whatever is summed here is summed in an order that depends on the length alone: the bits of a row are its own.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

// Outputs that a panel of a matrix holds next to each other: one register, as compilers cut wider vectors badly.
// And rows whose sums, with two panels, fit into the registers.
#if defined(__AVX512F__)
constexpr int LANES = 16, TILE = 8;
#elif defined(__AVX__)
constexpr int LANES = 8, TILE = 6;
#elif defined(__ARM_NEON)
constexpr int LANES = 4, TILE = 8;
#else
constexpr int LANES = 4, TILE = 6;
#endif

typedef float Lanes __attribute__((vector_size(LANES * sizeof(float))));
typedef float LanesAnywhere __attribute__((vector_size(LANES * sizeof(float)), aligned(4), may_alias));
typedef int32_t WholeLanes __attribute__((vector_size(LANES * sizeof(int32_t))));

inline Lanes load(const float* from) { return *reinterpret_cast<const LanesAnywhere*>(from); }
inline void store(float* to, Lanes lanes) { *reinterpret_cast<LanesAnywhere*>(to) = lanes; }
struct Bfloat {
    uint16_t bits;
};
typedef uint16_t HalfWords __attribute__((vector_size(LANES * sizeof(uint16_t))));
typedef uint16_t HalfWordsAnywhere __attribute__((vector_size(LANES * sizeof(uint16_t)), aligned(2), may_alias));
typedef uint32_t Words __attribute__((vector_size(LANES * sizeof(uint32_t))));

inline Lanes load(const Bfloat* from) {
    const HalfWords found = *reinterpret_cast<const HalfWordsAnywhere*>(from);
    return (Lanes)(__builtin_convertvector(found, Words) << 16);
}

// Rounds to nearest, to even between two; what is not a number stays so.
inline void store(Bfloat* to, Lanes lanes) {
    const Words bits = (Words)lanes;
    const Words rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    const Words found = lanes == lanes ? rounded : Words{} + 0x7fc0u;
    *reinterpret_cast<HalfWordsAnywhere*>(to) = __builtin_convertvector(found, HalfWords);
}

// The first `left` numbers where fewer than all lanes are left; zeros behind them.
template <typename Number>
inline Lanes load(const Number* from, int64_t left) {
    if (left >= LANES) return load(from);
    Number some[LANES] = {};
    std::copy_n(from, left, some);
    return load(some);
}

template <typename Number>
inline void store(Number* to, Lanes lanes, int64_t left) {
    if (left >= LANES) return store(to, lanes);
    Number some[LANES];
    store(some, lanes);
    std::copy_n(some, left, to);
}

inline float widened(float number) { return number; }
inline float widened(Bfloat number) {
    const uint32_t bits = uint32_t(number.bits) << 16;
    float wide;
    std::memcpy(&wide, &bits, sizeof wide);
    return wide;
}

// a · b + c, rounded once where the processor does so. Compilers may not choose this themselves, sum by sum:
// the bits of a row would depend on how many others it is multiplied with.
inline Lanes fused(Lanes a, Lanes b, Lanes c) {
#if defined(__AVX512F__)
    return _mm512_fmadd_ps(a, b, c);
#elif defined(__AVX__) && defined(__FMA__)
    return _mm256_fmadd_ps(a, b, c);
#elif defined(__ARM_NEON)
    return vfmaq_f32(c, a, b);
#else
    return a * b + c;
#endif
}

// The same numbers in a register: compilers that read memory again in each operation read more than a processor can.
inline Lanes held(Lanes lanes) {
#if defined(__x86_64__)
    asm("" : "+v"(lanes));
#elif defined(__ARM_NEON)
    asm("" : "+w"(lanes));
#endif
    return lanes;
}

inline Lanes all(float number) { return number - Lanes{}; }  // subtracting zero costs nothing

constexpr int64_t BLOCK = 16 * LANES;  // tokens whose probabilities are summed in single precision

constexpr int64_t up_to(int64_t count, int64_t step) { return (count + step - 1) / step * step; }
constexpr int64_t up_to_lanes(int64_t count) { return up_to(count, LANES); }

// Both halves of the lanes added, and their halves, down to one sum.
inline float total(Lanes lanes) {
#if defined(__AVX__)
    __m256 parts[LANES / 8];
    std::memcpy(parts, &lanes, sizeof parts);
    const __m256 wide = LANES == 16 ? parts[0] + parts[LANES / 8 - 1] : parts[0];
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(wide), _mm256_extractf128_ps(wide, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
#else
    float sums[LANES];
    store(sums, lanes);
    for (int half = LANES / 2; half > 0; half /= 2)
        for (int k = 0; k < half; ++k) sums[k] += sums[k + half];
    return sums[0];
#endif
}

// found[c] = a · b[c], for C vectors `stride` apart: sums that do not wait for each other
template <int C>
inline void dots(const float* a, const float* b, int64_t stride, int64_t length, float* found) {
    Lanes sums[C] = {};
    int64_t d = 0;
    for (; d + LANES <= length; d += LANES) {
        const Lanes here = load(a + d);
        for (int c = 0; c < C; ++c) sums[c] = fused(here, load(b + c * stride + d), sums[c]);
    }
    for (int c = 0; c < C; ++c) {
        found[c] = total(sums[c]);
        for (int64_t rest = d; rest < length; ++rest) found[c] += a[rest] * b[c * stride + rest];
    }
}

inline float dot(const float* a, const float* b, int64_t length) {
    float found;
    dots<1>(a, b, 0, length, &found);
    return found;
}

// e^x for x ≤ 0, to about one unit in the last place (Cephes' polynomial); 0 below -87.
inline Lanes exponential(Lanes x) {
    const Lanes zero{};
    const WholeLanes vanishes = x < zero - 87.0f;
    x = vanishes ? zero : x;
    const Lanes n = fused(x, all(1.44269504f), all(12582912.0f)) - 12582912.0f;  // 1.5 · 2²³ rounds to a whole number
    const Lanes r = fused(n, all(2.12194440e-4f), fused(n, all(-0.693359375f), x));
    Lanes p = fused(r, all(1.9875691500e-4f), all(1.3981999507e-3f));
    p = fused(p, r, all(8.3334519073e-3f));
    p = fused(p, r, all(4.1665795894e-2f));
    p = fused(p, r, all(1.6666665459e-1f));
    p = fused(p, r, all(5.0000001201e-1f));
    p = fused(p * r, r, r + 1.0f);
    const WholeLanes power = (__builtin_convertvector(n, WholeLanes) + 127) << 23;
    return vanishes ? zero : p * (Lanes)power;
}

inline Lanes sigmoid(Lanes x) {
    const Lanes small = exponential(x < 0.0f ? x : -x);
    return (x < 0.0f ? small : all(1.0f)) / (small + 1.0f);
}

inline Lanes silu(Lanes x) { return x * sigmoid(x); }

// The highest logit of a row.
template <typename Number>
inline float highest_of(const Number* logits, int64_t V) {
    Lanes most = all(-INFINITY);
    int64_t v = 0;
    for (; v + LANES <= V; v += LANES) {
        const Lanes here = load(logits + v);
        most = here > most ? here : most;
    }
    float highest = most[0];
    for (int k = 1; k < LANES; ++k) highest = std::max(highest, most[k]);
    for (; v < V; ++v) highest = std::max(highest, widened(logits[v]));
    return highest;
}

// scores[s] becomes e^(scores[s] - highest) / sum; there is room up to whole lanes.
inline void softmaxed(float* scores, int64_t count) {
    for (int64_t s = count; s < up_to_lanes(count); ++s) scores[s] = -INFINITY;
    const float highest = highest_of(scores, up_to_lanes(count));
    Lanes sums{};
    for (int64_t s = 0; s < count; s += LANES) {
        const Lanes found = exponential(load(scores + s) - highest);
        store(scores + s, found);
        sums += found;
    }
    const float share = 1.0f / total(sums);
    for (int64_t s = 0; s < count; s += LANES) store(scores + s, load(scores + s) * share);
}

// Calls `work` with a number of the kind that lies behind the pointers.
template <typename Work>
inline void typed(int is_half, Work work) {
    if (is_half) work(Bfloat{});
    else work(0.0f);
}

template <typename Number>
inline const Number* read(const void* from) { return static_cast<const Number*>(from); }
template <typename Number>
inline Number* written(void* to) { return static_cast<Number*>(to); }
