// Lines of float32 numbers as whole numbers of 16 bits with a scale, laid out for products (AVX2).
//
// A scale brings the Euclidean norm of up to SHARERS numbers to LENGTH at most.
// Legend: a line is a row of a or a column of b; a pair is two numbers next to each other along the sum.

#pragma once

#include <limits>

#include "numbers.h"

namespace {

constexpr int64_t SHARERS = 384, PAIRS = SHARERS / 2;  // numbers that share a scale, at most
constexpr float LENGTH = 46300.0f;  // √2³¹, less what rounding can add
constexpr float LARGEST = 32767.0f;
constexpr float SMALLEST = 1e-17f;  // a line of smaller numbers counts as nothing: their squares would be
constexpr int64_t ROWS = 6, COLUMNS = 16;  // of sums that fit into the registers
constexpr int64_t STEP = 4;                // pairs that are multiplied between two looks at their number
constexpr int64_t TOGETHER = 96;           // rows of a that a cache holds, at most
constexpr int64_t LONGEST = 2016;          // rows of a that are laid out at once
constexpr int64_t STRIP = 480;             // columns of b that a larger cache holds, and
constexpr int64_t WIDEST = 960;            // columns of b that are laid out at once
static_assert(LONGEST % ROWS == 0 && WIDEST % COLUMNS == 0 && STRIP % COLUMNS == 0);
static_assert(LANES % STEP == 0 && PAIRS % LANES == 0);

typedef __m256i Pairs;

// What numbers of LANES lines are multiplied with before they are rounded, and what gives them back.
struct Scales {
    Lanes factor, back;
};

// `squares` are sums of all squares. What is not a finite number makes its sums so.
Scales scales_of(Lanes largest, Lanes squares) {
    const Lanes zero{};
    const WholeLanes is_finite = squares <= all(std::numeric_limits<float>::max()), is_nothing = largest < all(SMALLEST);
    const Lanes by_length = LENGTH / (Lanes)_mm256_sqrt_ps(squares), by_size = LARGEST / largest;
    const Lanes found = by_length < by_size ? by_length : by_size;
    const Lanes back = is_nothing ? zero : 1.0f / found;
    return {is_finite & ~is_nothing ? found : zero, is_finite ? back : all(NAN)};
}

Lanes size_of(Lanes numbers) { return (Lanes)((Words)numbers & 0x7fffffffu); }
Lanes larger(Lanes a, Lanes b) { return _mm256_max_ps(a, b); }
Pairs rounded(Lanes numbers) { return _mm256_cvtps_epi32(numbers); }

float largest_of(Lanes lanes) {
    const __m128 four = _mm_max_ps(_mm256_castps256_ps128(lanes), _mm256_extractf128_ps(lanes, 1));
    const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}

// The size of the largest number of a line that lies in one piece, and the sum of all squares.
inline void measure(const float* from, int64_t count, float* largest, float* sum) {
    Lanes most[2] = {}, squares[2] = {};
    const auto add = [&](int half, Lanes numbers) {
        most[half] = larger(size_of(numbers), most[half]), squares[half] = fused(numbers, numbers, squares[half]);
    };
    int64_t k = 0;
    for (; k + 2 * LANES <= count; k += 2 * LANES) add(0, load(from + k)), add(1, load(from + k + LANES));
    if (k < count) add(0, load(from + k, count - k));
    if (k + LANES < count) add(1, load(from + k + LANES, count - k - LANES));
    *largest = largest_of(larger(most[0], most[1])), *sum = total(squares[0] + squares[1]);
}

// Where each pair of 2 · LANES numbers lies when they are packed half by half; which pair lies there is the same.
constexpr int PACKED[LANES] = {0, 1, 4, 5, 2, 3, 6, 7};

inline Pairs packed(Lanes low, Lanes high) { return _mm256_packs_epi32(rounded(low), rounded(high)); }

// LANES rows of pairs become LANES columns.
inline void turned_over(Pairs (&rows)[LANES]) {
    Pairs two[LANES], four[LANES];
    for (int i = 0; i < LANES; i += 2) {
        two[i] = _mm256_unpacklo_epi32(rows[i], rows[i + 1]);
        two[i + 1] = _mm256_unpackhi_epi32(rows[i], rows[i + 1]);
    }
    for (int i = 0; i < LANES; i += 4) {
        for (int k = 0; k < 2; ++k) {
            four[i + 2 * k] = _mm256_unpacklo_epi64(two[i + k], two[i + k + 2]);
            four[i + 2 * k + 1] = _mm256_unpackhi_epi64(two[i + k], two[i + k + 2]);
        }
    }
    for (int i = 0; i < LANES / 2; ++i) {
        rows[i] = _mm256_permute2x128_si256(four[i], four[i + LANES / 2], 0x20);
        rows[i + LANES / 2] = _mm256_permute2x128_si256(four[i], four[i + LANES / 2], 0x31);
    }
}

// Some lines of a side, laid out for products of one block.
struct Laid {
    int32_t* pairs;
    float* back;
};

// A block of a side: some of its lines, `count` numbers of each, laid out as whole registers of pairs.
struct Part {
    const float* from;
    int64_t along, across, lines, count, pairs;
};

// 2 · LANES numbers of each of COUNT lines → LANES pairs of LANES lines, those behind the last 0.
template <int64_t COUNT, int64_t W>
inline void turned_lines(const float* from, int64_t across, const Lanes* factors, int32_t* to) {
    Pairs some[LANES];
#pragma GCC unroll 8
    for (int64_t i = 0; i < LANES; ++i, from += across) {
        if (i < COUNT) some[i] = packed(load(from) * factors[i], load(from + LANES) * factors[i]);
        else some[i] = Pairs{};
    }
    turned_over(some);
#pragma GCC unroll 8
    for (int64_t k = 0; k < LANES; ++k) _mm256_storeu_si256(reinterpret_cast<Pairs*>(to + k * W), some[PACKED[k]]);
}

// The same at the end of a part or of what is laid out, where no more than is there is read and written.
template <int64_t COUNT, int64_t W>
inline void turned_at_end(const Part& part, int64_t first, int64_t k, const Lanes* factors, int32_t* to) {
    float from[COUNT][2 * LANES] = {};
    int32_t found[LANES * W + LANES];
    const int64_t left = std::min<int64_t>(2 * LANES, part.count - k);
    for (int64_t i = 0; i < std::min(COUNT, part.lines - first); ++i)
        if (left > 0) std::copy_n(part.from + (first + i) * part.across + k, left, from[i]);
    turned_lines<COUNT, W>(from[0], 2 * LANES, factors, found);
    for (int64_t pair = 0; pair < LANES; ++pair) std::copy_n(found + pair * W, COUNT, to + pair * W);
}

// Lines that lie in one piece each, W next to each other as [pairs][W]. What a pair writes too far the next one
// writes over.
template <int64_t W>
void lay_out_lines(const Part& part, const Laid& to) {
    constexpr int64_t room = up_to(W, LANES), together = std::min<int64_t>(W, LANES);
    for (int64_t first = 0; first < part.lines; first += W) {
        float most[room] = {}, squares[room] = {};
        for (int64_t i = 0; i < std::min(W, part.lines - first); ++i) {
            const float* from = part.from + (first + i) * part.across;
            const float* soon = from + 2 * W * part.across;  // no processor sees ahead across lines
            for (int64_t k = 0; k < part.count; k += 64 / sizeof(float)) __builtin_prefetch(soon + k);
            measure(from, part.count, most + i, squares + i);
        }
        for (int64_t i = 0; i < W; i += LANES) {
            const Scales scales = scales_of(load(most + i), load(squares + i));
            store(to.back + first + i, scales.back, W - i);
            Lanes factors[together];
            for (int64_t k = 0; k < together; ++k) factors[k] = all(scales.factor[k]);
            const bool is_whole = first + W <= part.lines;
            const float* from = part.from + (first + i) * part.across;
            int32_t* pairs = to.pairs + first * part.pairs + i;
            for (int64_t pair = 0; pair < part.pairs; pair += LANES, pairs += LANES * W) {
                const bool is_inside = 2 * (pair + LANES) <= part.count && pair + LANES < part.pairs;
                if (is_whole && is_inside) turned_lines<together, W>(from + 2 * pair, part.across, factors, pairs);
                else turned_at_end<together, W>(part, first + i, 2 * pair, factors, pairs);
            }
        }
    }
}

// What `measure` tells, of lines that lie side by side, and of COUNT numbers from k on: they are added.
template <int COUNT>
inline void measure_across(const Part& part, int64_t k, float* most, float* squares) {
    const float* from = part.from + k * part.along;
    for (int64_t i = 0; i < part.lines; i += LANES) {
        Lanes largest = load(most + i), sum = load(squares + i);
        if (i % (2 * LANES) == 0)
#pragma GCC unroll 8
            for (int here = 0; here < COUNT; ++here) __builtin_prefetch(from + (COUNT + here) * part.along + i);
#pragma GCC unroll 8
        for (int here = 0; here < COUNT; ++here) {
            const Lanes numbers = load(from + here * part.along + i, part.lines - i);
            largest = larger(size_of(numbers), largest), sum = fused(numbers, numbers, sum);
        }
        store(most + i, largest), store(squares + i, sum);
    }
}

// The scales of lines that lie side by side: all are read together, as their numbers come.
template <int64_t W>
void scales_across(const Part& part, float* factors, float* back) {
    constexpr int some = 8;
    float most[LONGEST + LANES] = {}, squares[LONGEST + LANES] = {};
    int64_t k = 0;
    for (; k + some <= part.count; k += some) measure_across<some>(part, k, most, squares);
    for (; k < part.count; ++k) measure_across<1>(part, k, most, squares);
    const int64_t lines = up_to(part.lines, W);
    for (int64_t i = 0; i < lines; i += LANES) {
        const Scales scales = scales_of(load(most + i), load(squares + i));
        store(factors + i, scales.factor), store(back + i, scales.back, lines - i);
    }
}

// Where a pair of some lines goes: whole registers, but for what would lie behind the last.
template <int64_t W>
inline void put(int32_t* to, Pairs pairs, bool is_last) {
    if (W >= LANES || !is_last) _mm256_storeu_si256(reinterpret_cast<Pairs*>(to), pairs);
    else std::memcpy(to, &pairs, W * sizeof(int32_t));
}

// Up to LANES numbers of lines side by side, and those next on the lines.
Pairs two_of(Lanes even, Lanes odd) {
    return _mm256_blend_epi16(rounded(even), _mm256_slli_epi32(rounded(odd), 16), 0xaa);
}

// What `lay_out_lines` does, of lines that lie side by side.
template <int64_t W>
void lay_out_across(const Part& part, const Laid& to) {
    constexpr int64_t some = LANES;  // pairs whose numbers stay in the cache from some lines to the next
    float factors[LONGEST + LANES] = {};
    scales_across<W>(part, factors, to.back);
    for (int64_t start = 0; start < part.pairs; start += some) {
        for (int64_t i = 0; i < part.lines; i += std::min<int64_t>(W, LANES)) {
            const Lanes factor = load(factors + i);
            const int64_t first = i / W * W, left = part.lines - i;
            int32_t* pairs = to.pairs + first * part.pairs + start * W + i - first;
            const float* from = part.from + 2 * start * part.along + i;
            if (left >= LANES && 2 * (start + some) <= part.count && start + some < part.pairs) {
                for (int64_t pair = 0; pair < some; ++pair, from += 2 * part.along) {
                    const Pairs both = two_of(load(from) * factor, load(from + part.along) * factor);
                    _mm256_storeu_si256(reinterpret_cast<Pairs*>(pairs + pair * W), both);
                }
                continue;
            }
            for (int64_t pair = start; pair < start + some; ++pair, from += 2 * part.along) {
                const Lanes even = 2 * pair < part.count ? load(from, left) * factor : Lanes{};
                const Lanes odd = 2 * pair + 1 < part.count ? load(from + part.along, left) * factor : Lanes{};
                const Pairs both = two_of(even, odd);
                put<W>(pairs + (pair - start) * W, both, pair + 1 == part.pairs);
            }
        }
    }
    for (int64_t i = part.lines; i < up_to(part.lines, W); ++i)
        for (int64_t pair = 0; pair < part.pairs; ++pair) to.pairs[i / W * W * part.pairs + pair * W + i % W] = 0;
}
}  // namespace
