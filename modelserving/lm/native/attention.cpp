// Exact attention within each tree of a packed row, forward and backward: heads are turned by their positions on the
// way in and back on the way out, and keys that no query of a block may look at are not multiplied.
//
// A tree and one key head, with the query heads that read it, are done by one thread from start to end.
// Legend: T tokens and Q queries of the row, N keys and M queries of a tree, H heads, G key heads, D head width.

#include <new>
#include <type_traits>

#include "trees.h"

namespace {

constexpr int64_t SOON = 8;  // tokens ahead that are asked for

// to = factor · (head ∘ cos + swapped halves ∘ sin); backwards its transpose.
template <bool WHOLE, typename Number, typename From, typename To>
void rotated(const From* head, const Number* cos, const Number* sin, int64_t D, bool backwards, float factor, To* to) {
    const int64_t half = D / 2;
    const Number *sin_low = backwards ? sin + half : sin, *sin_high = backwards ? sin : sin + half;
    for (int64_t d = 0; d < half; d += LANES) {
        const int64_t left = WHOLE ? LANES : half - d;
        const Lanes low = load(head + d, left), high = load(head + half + d, left);
        const Lanes of_high = high * load(sin_low + d, left), of_low = low * load(sin_high + d, left);
        store(to + d, fused(low, load(cos + d, left), of_high) * factor, left);
        store(to + half + d, fused(high, load(cos + half + d, left), of_low) * factor, left);
    }
}

template <bool WHOLE, typename From, typename To>
void scaled(const From* head, int64_t D, float factor, To* to) {
    for (int64_t d = 0; d < D; d += LANES) {
        const int64_t left = WHOLE ? LANES : D - d;
        store(to + d, load(head + d, left) * factor, left);
    }
}

// One head, turned where there are angles.
template <typename Number, typename From, typename To>
void turned(const From* head, const Angles& angles, int64_t token, int64_t D, bool backwards, float factor, To* to) {
    const bool is_whole = D % (2 * LANES) == 0;
    if (!angles.cos) return is_whole ? scaled<true>(head, D, factor, to) : scaled<false>(head, D, factor, to);
    const Number *cos = read<Number>(angles.cos) + token * D, *sin = read<Number>(angles.sin) + token * D;
    if (is_whole) rotated<true>(head, cos, sin, D, backwards, factor, to);
    else rotated<false>(head, cos, sin, D, backwards, factor, to);
}

// c (R, PANEL) = or += a · b over `count` numbers, a(r, k) = a[r · across + k · along], b lying in a panel.
template <int R, bool ADDED>
inline void tile(const float* a, int64_t across, int64_t along, const float* b, int64_t count, float* c, int64_t width) {
    Lanes low[R], high[R];
    for (int r = 0; r < R; ++r) {
        low[r] = ADDED ? load(c + r * width) : Lanes{};
        high[r] = ADDED ? load(c + r * width + LANES) : Lanes{};
    }
    for (int64_t k = 0; k < count; ++k, a += along, b += PANEL) {
        const Lanes first = held(load(b)), second = held(load(b + LANES));
        for (int r = 0; r < R; ++r) {
            const Lanes number = all(a[r * across]);
            low[r] = fused(first, number, low[r]);
            high[r] = fused(second, number, high[r]);
        }
    }
    for (int r = 0; r < R; ++r) {
        store(c + r * width, low[r]);
        store(c + r * width + LANES, high[r]);
    }
}

// to (rows, W) = the block's rows of a matrix times the keys that are looked at, of another laid out across.
void crossed(const Laid& rows, const Laid& keys, const Bench& bench, const Block& block, float* to) {
    const int64_t width = keys.width;
    each_panel(bench, [&](int64_t n, int64_t column, int64_t row) {
        for (int64_t m = row; m < block.rows; m += ROWS)
            tile<ROWS, false>(
                rows.plain + (block.first + m) * width, width, 1, keys.across + n * width, width,
                to + m * block.stride + column, block.stride);
    });
}

// scores (rows, W) of the block's queries, −∞ where they may not look.
void score(const Tree& tree, const Bench& bench, const Block& block, float* scores) {
    crossed(bench.query, bench.key, bench, block, scores);
    each_panel(bench, [&](int64_t n, int64_t column, int64_t row) {
        if (tree.all_may_look(n)) return;
        for (int64_t m = row; m < block.rows; ++m) tree.mask(block.first + m, n, scores + m * block.stride + column);
    });
}

// to (rows, width) = weights (rows, W) · the keys that are looked at, of a matrix laid out by columns.
void weighted(const Laid& of, const Bench& bench, const Block& block, const float* weights, float* to) {
    for (int64_t d = 0; d < of.width; d += PANEL)
        for (int64_t m = 0; m < block.rows; m += ROWS)
            for (const Range& range : bench.ranges) {
                const int64_t count = std::min(range.last - range.first, bench.seen[m / ROWS] - range.column);
                if (count <= 0) break;
                const float *a = weights + m * block.stride + range.column, *b = of.columns + d * of.rows + range.first * PANEL;
                float* c = to + m * of.width + d;
                if (range.column) tile<ROWS, true>(a, block.stride, 1, b, count, c, of.width);
                else tile<ROWS, false>(a, block.stride, 1, b, count, c, of.width);
            }
}

// to (N, width) += weightsᵀ · the block's rows of a matrix laid out by columns.
void gathered(const Laid& of, const Bench& bench, const Block& block, const float* weights, float* to) {
    const auto add = [&](auto keys, int64_t key, int64_t column, int64_t row) {
        for (int64_t d = 0; d < of.width; d += PANEL)
            tile<keys, true>(
                weights + row * block.stride + column, 1, block.stride,
                of.columns + d * of.rows + (block.first + row) * PANEL, block.rows - row, to + key * of.width + d, of.width);
    };
    each_panel(bench, [&](int64_t n, int64_t column, int64_t row) {
        for (int k = 0; k + ROWS <= PANEL; k += ROWS) add(std::integral_constant<int, ROWS>{}, n + k, column + k, row);
        add(std::integral_constant<int, REST>{}, n + PANEL - REST, column + PANEL - REST, row);
    });
}

// Scores become e^(score − highest); returns the sum.
float exponentials(float* scores, int64_t W) {
    const float highest = highest_of(scores, W);
    Lanes sums{};
    for (int64_t s = 0; s < W; s += LANES) {
        const Lanes found = exponential(load(scores + s) - highest);
        store(scores + s, found);
        sums += found;
    }
    return total(sums);
}

// Scores become probabilities p, and what these are given becomes that of the scores: p ∘ (given − Σ p ∘ given).
// The mean is taken off twice: where all are given nearly alike they cancel, and the first mean's rounding would stay.
void of_softmax(float* scores, float* given, int64_t W) {
    const float share = 1.0f / exponentials(scores, W);
    Lanes along{}, left{};
    for (int64_t s = 0; s < W; s += LANES) along = fused(load(scores + s), load(given + s), along);
    const float mean = total(along) * share;
    for (int64_t s = 0; s < W; s += LANES) {
        const Lanes p = load(scores + s) * share, own = load(given + s) - mean;
        store(scores + s, p);
        store(given + s, own);
        left = fused(p, own, left);
    }
    const float rest = total(left);
    for (int64_t s = 0; s < W; s += LANES) store(given + s, load(scores + s) * (load(given + s) - rest));
}

// Asks for a head that is read soon: the heads of one number lie apart, which no processor foresees.
template <typename Number>
inline void ask_for(const Number* head, int64_t D) {
    for (int64_t d = 0; d < D; d += 64 / int64_t(sizeof(Number))) __builtin_prefetch(head + d);
}

template <typename Number>
void take_keys(const Tree& tree, const Heads& heads, int64_t g, const void* keys, const void* values, Bench& bench) {
    const int64_t D = heads.width, G = heads.key_heads;
    bench.key.make(tree.N, D), bench.value.make(tree.N, D);
    for (int64_t n = 0; n < tree.N; ++n) {
        const int64_t token = tree.start + n, at = (token * G + g) * D, to = n * bench.key.width, soon = at + SOON * G * D;
        ask_for(read<Number>(keys) + soon, D), ask_for(read<Number>(values) + soon, D);
        turned<Number>(read<Number>(keys) + at, heads.of_keys, token, D, false, 1.0f, bench.key.plain + to);
        turned<Number>(read<Number>(values) + at, Angles{}, token, D, false, 1.0f, bench.value.plain + to);
    }
    bench.key.transposed();
}

// Rows of the tree's queries: of the queries themselves, or of anything that lies as they do.
template <typename Number>
void take_rows(
    const Tree& tree, const Heads& heads, const Angles& angles, int64_t h, float factor, const void* from, Laid& to) {
    const int64_t D = heads.width;
    to.make(tree.M, D);
    for (int64_t m = 0; m < tree.M; ++m) {
        const int64_t query = tree.queries[m];
        const Number* head = read<Number>(from) + (query * heads.query_heads + h) * D;
        ask_for(head + SOON * heads.query_heads * D, D);
        turned<Number>(head, angles, query, D, false, factor, to.plain + m * to.width);
    }
}

template <typename Number>
void forward(
    const Trees& row, const Heads& heads, int64_t which, int64_t g, const void* queries, const void* keys,
    const void* values, void* results) {
    static thread_local Bench bench;
    Tree tree(row, which, bench);
    if (!tree.M) return;
    const int64_t D = heads.width, H = heads.query_heads, each = H / heads.key_heads;
    take_keys<Number>(tree, heads, g, keys, values, bench);
    bench.value.by_columns();
    for (int64_t h = g * each; h < (g + 1) * each; ++h) {
        take_rows<Number>(tree, heads, heads.of_queries, h, heads.scale, queries, bench.query);
        const int64_t width = bench.query.width, asking = up_to(tree.M, ROWS);
        for (int64_t first = 0; first < asking; first += QUERIES) {
            const Block block = tree.look(first);
            const int64_t rows = block.rows, stride = block.stride;
            float *scores = bench.scores_room.room(rows * stride), *result = bench.result_room.room(rows * width);
            score(tree, bench, block, scores);
            float sums[QUERIES];
            for (int64_t m = 0; m < rows; ++m) sums[m] = exponentials(scores + m * stride, bench.seen[m / ROWS]);
            weighted(bench.value, bench, block, scores, result);
            for (int64_t m = 0; m < rows && first + m < tree.M; ++m) {
                const int64_t at = tree.queries[first + m] * H + h;
                turned<Number>(
                    result + m * width, Angles{}, 0, D, false, 1.0f / sums[m], written<Number>(results) + at * D);
            }
        }
    }
}

// Probabilities are computed again: about as fast as fetching them from memory.
template <typename Number>
void backward(
    const Trees& row, const Heads& heads, int64_t which, int64_t g, const void* queries, const void* keys,
    const void* values, const void* given, void* of_queries, void* of_keys, void* of_values) {
    static thread_local Bench bench;
    Tree tree(row, which, bench);
    const int64_t D = heads.width, H = heads.query_heads, G = heads.key_heads, each = H / G;
    take_keys<Number>(tree, heads, g, keys, values, bench);
    bench.key.by_columns();
    bench.value.transposed();
    const int64_t width = bench.key.width;
    float* of_key = bench.of_key_room.zeros(bench.key.rows * width);
    float* of_value = bench.of_value_room.zeros(bench.key.rows * width);
    for (int64_t h = g * each; h < (g + 1) * each && tree.M; ++h) {
        take_rows<Number>(tree, heads, heads.of_queries, h, heads.scale, queries, bench.query);
        take_rows<Number>(tree, heads, Angles{}, h, 1.0f, given, bench.given);
        bench.query.by_columns();
        bench.given.by_columns();
        const int64_t asking = up_to(tree.M, ROWS);
        for (int64_t first = 0; first < asking; first += QUERIES) {
            const Block block = tree.look(first);
            const int64_t rows = block.rows, stride = block.stride;
            float *p = bench.scores_room.room(rows * stride), *ds = bench.of_scores_room.room(rows * stride);
            float* of_query = bench.of_query_room.room(rows * width);
            score(tree, bench, block, p);
            crossed(bench.given, bench.value, bench, block, ds);
            for (int64_t m = 0; m < rows; ++m) of_softmax(p + m * stride, ds + m * stride, bench.seen[m / ROWS]);
            weighted(bench.key, bench, block, ds, of_query);
            gathered(bench.query, bench, block, ds, of_key);
            gathered(bench.given, bench, block, p, of_value);
            for (int64_t m = 0; m < rows && first + m < tree.M; ++m) {
                const int64_t query = tree.queries[first + m];
                turned<Number>(
                    of_query + m * width, heads.of_queries, query, D, true, heads.scale,
                    written<Number>(of_queries) + (query * H + h) * D);
            }
        }
    }
    for (int64_t n = 0; n < tree.N; ++n) {
        const int64_t token = tree.start + n, at = (token * G + g) * D;
        turned<Number>(of_key + n * width, heads.of_keys, token, D, true, 1.0f, written<Number>(of_keys) + at);
        turned<Number>(of_value + n * width, Angles{}, token, D, true, 1.0f, written<Number>(of_values) + at);
    }
}

// Calls `work` for each tree and key head; returns 1 where memory ran out.
template <typename Work>
int each_unit(const Trees& row, const Heads& heads, int threads, Work work) {
    int failed = 0;
#pragma omp parallel for schedule(dynamic) num_threads(threads) reduction(| : failed)
    for (int64_t unit = 0; unit < row.trees * heads.key_heads; ++unit) {
        try {
            work(unit / heads.key_heads, unit % heads.key_heads);
        } catch (const std::bad_alloc&) {
            failed = 1;
        }
    }
    return failed;
}
}  // namespace

extern "C" {

// Queries (Q, H, D), keys and values (T, G, D) → results (Q, H, D).
// Queries of no tree are left as they are. Returns 1 where memory ran out.
int attention_forward(
    int is_half, const Trees* row, const Heads* heads, const void* queries, const void* keys, const void* values,
    void* results, int threads) {
    return each_unit(*row, *heads, threads, [&](int64_t tree, int64_t g) {
        typed(is_half, [&](auto number) {
            forward<decltype(number)>(*row, *heads, tree, g, queries, keys, values, results);
        });
    });
}

// Gradients of queries, keys and values from what the results are given; tokens of no tree are left as they are.
int attention_backward(
    int is_half, const Trees* row, const Heads* heads, const void* queries, const void* keys, const void* values,
    const void* given, void* of_queries, void* of_keys, void* of_values, int threads) {
    return each_unit(*row, *heads, threads, [&](int64_t tree, int64_t g) {
        typed(is_half, [&](auto number) {
            backward<decltype(number)>(
                *row, *heads, tree, g, queries, keys, values, given, of_queries, of_keys, of_values);
        });
    });
}
}
