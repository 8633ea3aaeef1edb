// Products of float32 matrices in whole numbers of 16 bits: dynamic fixed point (Das et al. 2018, arXiv:1802.00930).
//
// Along the sum, up to SHARERS numbers of a row share one scale. It brings their Euclidean norm to √2³¹ at most: by
// Cauchy's inequality no sum of products can leave 32 bits, and sums within a block are exact. Blocks are added in
// float32, in order. A rounded row is off by about 1e-4 of its norm, bfloat16's by 2e-3.
// Legend: c (M, N) = a · b, sums over K numbers; a pair is two numbers next to each other along the sum.

#include <cstdint>
#include <new>
#include <vector>

// One side of a product: line i and number k along the sum lie at numbers[i · across + k · along].
extern "C" struct Side {
    const float* numbers;
    int64_t along, across, lines;
};

extern "C" struct Product {  // c = base + a · b; base may be null, or c itself
    Side a, b;
    const float* base;
    float* c;
};

// Processors that multiply pairs in two units of 256 bits, and floats no wider. The excepted ones have one unit for pairs.
#if defined(__AVX2__) && defined(__FMA__) && !defined(__AVX512F__) && !defined(__haswell__) && !defined(__broadwell__) && \
    !defined(__znver1__) && !defined(__znver2__)
#define MULTIPLIES_PAIRS 1
#endif

#ifdef MULTIPLIES_PAIRS
#include "whole_numbers.h"

namespace {

// sums += a · b, two products each. Written out: compilers keep more of them at once than there are registers.
inline void multiplied(Pairs& sums, Pairs a, Pairs b) {
    Pairs products;
    asm volatile("vpmaddwd %[b], %[a], %[products]\n\tvpaddd %[products], %[sums], %[sums]"
                 : [sums] "+x"(sums), [products] "=&x"(products)
                 : [a] "x"(a), [b] "x"(b));
}

// ROWS lines of a, COLUMNS of b, and how many pairs of each are multiplied.
struct Tile {
    const int32_t *rows, *panel;
    const float *of_rows, *of_columns;
    int64_t pairs;
};

// c = base + sums; base may be null.
__attribute__((noinline)) void product(const Tile& tile, const float* base, float* c, int64_t width) {
    Pairs low[ROWS], high[ROWS];
#pragma GCC unroll 6
    for (int r = 0; r < ROWS; ++r) low[r] = high[r] = _mm256_setzero_si256();
    const int32_t *rows = tile.rows, *panel = tile.panel;
    for (int64_t pair = 0; pair < tile.pairs; pair += STEP, rows += STEP * ROWS, panel += STEP * COLUMNS) {
#pragma GCC unroll 4
        for (int k = 0; k < STEP; ++k) {
            const Pairs first = _mm256_loadu_si256(reinterpret_cast<const Pairs*>(panel + k * COLUMNS));
            const Pairs second = _mm256_loadu_si256(reinterpret_cast<const Pairs*>(panel + k * COLUMNS + LANES));
#pragma GCC unroll 6
            for (int r = 0; r < ROWS; ++r) {
                const Pairs both = _mm256_set1_epi32(rows[k * ROWS + r]);
                multiplied(low[r], both, first);
                multiplied(high[r], both, second);
            }
        }
    }
#pragma GCC unroll 6
    for (int r = 0; r < ROWS; ++r, c += width) {
        const Lanes scale = all(tile.of_rows[r]);
        const Lanes left = load(tile.of_columns) * scale, right = load(tile.of_columns + LANES) * scale;
        store(c, fused(_mm256_cvtepi32_ps(low[r]), left, base ? load(base + r * width) : Lanes{}));
        store(c + LANES, fused(_mm256_cvtepi32_ps(high[r]), right, base ? load(base + r * width + LANES) : Lanes{}));
    }
}

// The same, to the bit, where fewer rows or columns are left.
void product_at_edge(const Tile& tile, const float* base, float* c, int64_t width, int64_t rows, int64_t columns) {
    float found[ROWS * COLUMNS] = {};
    for (int64_t r = 0; base && r < rows; ++r) std::copy_n(base + r * width, columns, found + r * COLUMNS);
    product(tile, found, found, COLUMNS);
    for (int64_t r = 0; r < rows; ++r) std::copy_n(found + r * COLUMNS, columns, c + r * width);
}

// Numbers [start, start + count) along the sums.
struct Span {
    int64_t start, count, pairs;
    int threads;
};

// Some lines of a side, from `first` on, and where they are laid out.
struct Lines {
    int64_t first, count;
    Laid laid;
};

template <int64_t W>
void lay_out(const Side& side, const Span& span, const Lines& lines) {
    const int64_t share = up_to((lines.count + span.threads - 1) / span.threads, W);
#pragma omp parallel for schedule(static) num_threads(span.threads)
    for (int64_t i = 0; i < lines.count; i += share) {
        const int64_t first = lines.first + i;
        const Part part{
            side.numbers + first * side.across + span.start * side.along, side.along, side.across,
            std::min(share, lines.count - i), span.count, span.pairs};
        const Laid to{lines.laid.pairs + i * span.pairs, lines.laid.back + i};
        if (side.along == 1) lay_out_lines<W>(part, to);
        else lay_out_across<W>(part, to);
    }
}

// ROWS rows and COLUMNS columns of those that are laid out, or what is left of them.
inline void some_sums(
    const Product& ask, const Span& span, const Lines& rows, int64_t r, const Lines& columns, int64_t n) {
    const int64_t N = ask.b.lines, at = (rows.first + r) * N + columns.first + n;
    const Tile tile{rows.laid.pairs + r * span.pairs, columns.laid.pairs + n * span.pairs, rows.laid.back + r,
                    columns.laid.back + n, up_to((span.count + 1) / 2, STEP)};
    const int64_t rows_left = std::min(ROWS, rows.count - r), columns_left = std::min(COLUMNS, columns.count - n);
    const float* base = span.start ? ask.c + at : ask.base ? ask.base + at : nullptr;
    if (rows_left == ROWS && columns_left == COLUMNS) product(tile, base, ask.c + at, N);
    else product_at_edge(tile, base, ask.c + at, N, rows_left, columns_left);
}

// The rows from number `from` of those that are laid out, some together, with all columns that are. Sums of a row are
// written one after another: a processor sees them coming.
void some_rows(
    const Product& ask, const Span& span, const Lines& rows, int64_t from, int64_t together, const Lines& columns) {
    const int64_t behind = std::min(from + together, rows.count);
    for (int64_t strip = 0; strip < columns.count; strip += STRIP)
        for (int64_t r = from; r < behind; r += ROWS)
            for (int64_t n = strip; n < std::min(strip + STRIP, columns.count); n += COLUMNS)
                some_sums(ask, span, rows, r, columns, n);
}

// What is laid out: a side that the next product has, too, is not laid out again.
struct Bench {
    std::vector<int32_t> pairs = std::vector<int32_t>((LONGEST + WIDEST) * PAIRS);
    std::vector<float> backs = std::vector<float>(LONGEST + WIDEST);
    const Side *left = nullptr, *right = nullptr;

    template <int64_t W>
    Lines laid(const Side& side, int64_t first, int64_t most, const Span& span, const Side*& last) {
        const int64_t at = W == ROWS ? 0 : LONGEST;
        const Lines lines{first, std::min(most, side.lines - first), {pairs.data() + at * PAIRS, backs.data() + at}};
        const bool is_there = last && last->numbers == side.numbers && last->along == side.along &&
                              last->across == side.across && last->lines == side.lines;
        if (!is_there) lay_out<W>(side, span, lines);
        last = lines.count == side.lines ? &side : nullptr;
        return lines;
    }
};

void multiply(const Product* asks, int64_t count, int64_t K, int threads) {
    static thread_local Bench bench;  // the calling thread's, also where others work on it
    const int64_t blocks = (K + SHARERS - 1) / SHARERS, share = up_to((K + blocks - 1) / blocks, 2 * LANES);
    for (int64_t start = 0; start < K; start += share) {
        const Span span{start, std::min(share, K - start), up_to((std::min(share, K - start) + 1) / 2, LANES), threads};
        bench.left = bench.right = nullptr;
        for (const Product* ask = asks; ask < asks + count; ++ask) {
            for (int64_t n = 0; n < ask->b.lines; n += WIDEST) {
                const Lines columns = bench.laid<COLUMNS>(ask->b, n, WIDEST, span, bench.right);
                for (int64_t m = 0; m < ask->a.lines; m += LONGEST) {
                    const Lines rows = bench.laid<ROWS>(ask->a, m, LONGEST, span, bench.left);
                    const int64_t chunks = up_to((rows.count + TOGETHER - 1) / TOGETHER, threads);
                    const int64_t together = up_to((rows.count + chunks - 1) / chunks, ROWS);  // each thread as many
#pragma omp parallel for schedule(static) num_threads(threads)
                    for (int64_t r = 0; r < rows.count; r += together)
                        some_rows(*ask, span, rows, r, together, columns);
                }
            }
        }
    }
}
}  // namespace
#endif

extern "C" {

// Whether products in whole numbers are compiled here, where they are faster than float32's.
int has_int16_products() {
#ifdef MULTIPLIES_PAIRS
    return 1;
#else
    return 0;
#endif
}

// Products that all sum over K numbers; those that share a side stand next to each other. 1 if memory is missing.
int int16_products(const Product* asks, int64_t count, int64_t K, int threads) {
#ifdef MULTIPLIES_PAIRS
    try {
        multiply(asks, count, K, threads);
    } catch (const std::bad_alloc&) {
        return 1;
    }
    return 0;
#else
    return 1;
#endif
}
}
