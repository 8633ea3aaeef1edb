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
constexpr int64_t LONGEST = 2016;          // rows of a, and
constexpr int64_t WIDEST = 960;            // columns of b that are laid out at once
static_assert(LONGEST % ROWS == 0 && WIDEST % COLUMNS == 0);
static_assert(LANES % STEP == 0 && PAIRS % LANES == 0);

typedef __m256i Pairs;

// What numbers are multiplied with before they are rounded, and what gives them back.
struct Scale {
    float factor, back;
};

// `squares` is the sum of all squares. What is not a finite number makes its sums so.
Scale scale_of(float largest, float squares) {
    if (!(squares <= std::numeric_limits<float>::max())) return {0.0f, NAN};
    if (largest < SMALLEST) return {0.0f, 0.0f};
    const float factor = std::min(LENGTH / std::sqrt(squares), LARGEST / largest);
    return {factor, 1.0f / factor};
}

Lanes size_of(Lanes numbers) { return (Lanes)((Words)numbers & 0x7fffffffu); }
Lanes larger(Lanes a, Lanes b) { return a > b ? a : b; }
Pairs rounded(Lanes numbers) { return _mm256_cvtps_epi32(numbers); }

float largest_of(Lanes lanes) {
    const __m128 four = _mm_max_ps(_mm256_castps256_ps128(lanes), _mm256_extractf128_ps(lanes, 1));
    const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}

// A line that lies in one piece → `room` numbers, those behind the last 0.
float line_of_numbers(const float* from, int64_t count, int64_t room, int16_t* to) {
    float padded[SHARERS];
    if (count < room) {
        std::fill(std::copy_n(from, count, padded), padded + room, 0.0f);
        from = padded;
    }
    Lanes most[2] = {}, squares[2] = {};
    for (int64_t k = 0; k < room; k += 2 * LANES) {
        const Lanes low = load(from + k), high = load(from + k + LANES);
        most[0] = larger(size_of(low), most[0]), squares[0] = fused(low, low, squares[0]);
        most[1] = larger(size_of(high), most[1]), squares[1] = fused(high, high, squares[1]);
    }
    const Scale scale = scale_of(largest_of(larger(most[0], most[1])), total(squares[0] + squares[1]));
    for (int64_t k = 0; k < room; k += 2 * LANES) {
        const Lanes low = load(from + k) * scale.factor, high = load(from + k + LANES) * scale.factor;
        const Pairs both = _mm256_packs_epi32(rounded(low), rounded(high));
        _mm256_storeu_si256(reinterpret_cast<Pairs*>(to + k), _mm256_permute4x64_epi64(both, 0xd8));
    }
    return scale.back;
}

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

// Where a pair of some lines goes: whole registers, but for what would lie behind the last.
template <int64_t W>
inline void put(int32_t* to, Pairs pairs, bool is_last) {
    if (W >= LANES || !is_last) _mm256_storeu_si256(reinterpret_cast<Pairs*>(to), pairs);
    else std::memcpy(to, &pairs, W * sizeof(int32_t));
}

// Lines that lie in one piece each, W next to each other as [pairs][W]. What a pair writes too far the next one
// writes over.
template <int64_t W>
void lay_out_lines(const Part& part, const Laid& to) {
    int16_t own[up_to(W, LANES)][SHARERS] = {};
    for (int64_t first = 0; first < part.lines; first += W) {
        for (int64_t i = 0; i < W; ++i) {
            const int64_t count = first + i < part.lines ? part.count : 0;
            const float* soon = part.from + (first + i + 2 * W) * part.across;  // no processor sees ahead across lines
            for (int64_t k = 0; k < count; k += 64 / sizeof(float)) __builtin_prefetch(soon + k);
            to.back[first + i] = line_of_numbers(part.from + (first + i) * part.across, count, 2 * part.pairs, own[i]);
        }
        for (int64_t i = 0; i < W; i += LANES) {
            int32_t* pairs = to.pairs + first * part.pairs + i;
            for (int64_t pair = 0; pair < part.pairs; pair += LANES) {
                Pairs some[LANES];
                for (int r = 0; r < LANES; ++r)
                    some[r] = _mm256_loadu_si256(reinterpret_cast<const Pairs*>(own[i + r] + 2 * pair));
                turned_over(some);
                for (int64_t k = 0; k < LANES; ++k) put<W>(pairs + (pair + k) * W, some[k], pair + k + 1 == part.pairs);
            }
        }
    }
}

// The scales of lines that lie side by side: all are read together, as their numbers come.
template <int64_t W>
void scales_across(const Part& part, float* factors, float* back) {
    float most[LONGEST + LANES] = {}, squares[LONGEST + LANES] = {};
    for (int64_t k = 0; k < part.count; ++k) {
        const float* here = part.from + k * part.along;
        for (int64_t i = 0; i < part.lines; i += LANES) {
            const Lanes numbers = load(here + i, part.lines - i);
            store(most + i, larger(size_of(numbers), load(most + i)));
            store(squares + i, fused(numbers, numbers, load(squares + i)));
        }
    }
    for (int64_t i = 0; i < up_to(part.lines, W); ++i) {
        const Scale scale = scale_of(most[i], squares[i]);
        factors[i] = scale.factor, back[i] = scale.back;
    }
}

// Up to LANES numbers of lines side by side, and those next on the lines.
Pairs two_of(Lanes even, Lanes odd) {
    const Pairs low = _mm256_and_si256(rounded(even), _mm256_set1_epi32(0xffff));
    return _mm256_or_si256(low, _mm256_slli_epi32(rounded(odd), 16));
}

// The same of lines that lie side by side.
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
