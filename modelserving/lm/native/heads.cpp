// Heads between two orders: token by token, as products of matrices give and take them, and tree by tree, as
// attention multiplies them. Turned by their positions on the way.
//
// Legend: T tokens, H heads, D head width; B trees of a bucket, M places of each.

#include "numbers.h"

namespace {

struct Angles {  // of some tokens, (D) each; the sines are negative in the first half
    const void *cos, *sin;
};

// to = head ∘ cos + swapped halves ∘ sin; backwards its transpose.
template <typename Number>
void turned(const Number* head, const Number* cos, const Number* sin, int64_t D, bool backwards, float factor, Number* to) {
    const int64_t half = D / 2;
    for (int64_t d = 0; d < half; d += LANES) {
        const int64_t left = half - d;
        const Lanes low = load(head + d, left), high = load(head + half + d, left);
        const Lanes sin_low = load(sin + d, left), sin_high = load(sin + half + d, left);
        const Lanes of_high = high * (backwards ? sin_high : sin_low), of_low = low * (backwards ? sin_low : sin_high);
        store(to + d, fused(low, load(cos + d, left), of_high) * factor, left);
        store(to + half + d, fused(high, load(cos + half + d, left), of_low) * factor, left);
    }
}

template <typename Number>
void scaled(const Number* head, int64_t D, float factor, Number* to) {
    for (int64_t d = 0; d < D; d += LANES) store(to + d, load(head + d, D - d) * factor, D - d);
}

// One head, turned where there are angles.
template <typename Number>
void carried(const Number* head, const Angles& angles, int64_t token, int64_t D, bool backwards, float factor, Number* to) {
    if (!angles.cos) return scaled(head, D, factor, to);
    const int64_t at = token * D;
    turned(head, read<Number>(angles.cos) + at, read<Number>(angles.sin) + at, D, backwards, factor, to);
}

template <typename Number>
void by_tree(
    const Number* heads, const int64_t* tokens, const Angles& angles, int64_t B, int64_t M, int64_t H, int64_t D,
    Number* to, int threads) {
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t place = 0; place < B * M; ++place) {
        const int64_t b = place / M, m = place % M, token = tokens[place];
        for (int64_t h = 0; h < H; ++h) {
            Number* here = to + ((b * H + h) * M + m) * D;
            if (token < 0) std::fill_n(here, D, Number{});
            else carried(heads + (token * H + h) * D, angles, token, D, false, 1.0f, here);
        }
    }
}

// Buckets lie behind each other in the count of places; a token whose place is behind the last belongs to no tree.
template <typename Number>
void by_token(
    const void* const* buckets, const int64_t* widths, const int64_t* ends, int64_t count, const int64_t* places,
    const Angles& angles, int64_t T, int64_t H, int64_t D, float factor, Number* to, int threads) {
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t token = 0; token < T; ++token) {
        Number* here = to + token * H * D;
        int64_t bucket = 0;
        while (bucket < count && places[token] >= ends[bucket]) ++bucket;
        if (bucket == count) {
            std::fill_n(here, H * D, Number{});
            continue;
        }
        const int64_t place = places[token] - (bucket ? ends[bucket - 1] : 0), M = widths[bucket];
        const Number* tree = read<Number>(buckets[bucket]) + place / M * H * M * D + place % M * D;
        for (int64_t h = 0; h < H; ++h, tree += M * D) carried(tree, angles, token, D, true, factor, here + h * D);
    }
}
}  // namespace

extern "C" {

// heads (T, H, D) at the tokens of each place, zeros where that is negative: (B, H, M, D).
void heads_by_tree(
    int is_half, const void* heads, const int64_t* tokens, const void* cos, const void* sin, int64_t B, int64_t M,
    int64_t H, int64_t D, void* to, int threads) {
    typed(is_half, [&](auto number) {
        using Number = decltype(number);
        by_tree(read<Number>(heads), tokens, Angles{cos, sin}, B, M, H, D, written<Number>(to), threads);
    });
}

// The other way, turned back and times a factor: (T, H, D).
void heads_by_token(
    int is_half, const void* const* buckets, const int64_t* widths, const int64_t* ends, int64_t count,
    const int64_t* places, const void* cos, const void* sin, int64_t T, int64_t H, int64_t D, float factor, void* to,
    int threads) {
    typed(is_half, [&](auto number) {
        by_token(
            buckets, widths, ends, count, places, Angles{cos, sin}, T, H, D, factor, written<decltype(number)>(to),
            threads);
    });
}
}
