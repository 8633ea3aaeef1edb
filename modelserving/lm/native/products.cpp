// Products of float32 matrices in whole numbers of 16 bits: dynamic fixed point (Das et al. 2018, arXiv:1802.00930).
//
// Along the sum, BLOCK numbers of a row share one scale. It brings their Euclidean norm to LENGTH at most: by Cauchy's
// inequality no sum of products can leave 32 bits, and within a block sums are exact. Blocks are added in float32, in
// order. A rounded row is off by about 1e-4 of its norm, bfloat16's by 1e-3.
// Legend: c (M, N) = a · b, sums over K numbers; a pair is two numbers next to each other along the sum.

#include <new>
#include <vector>

#include "numbers.h"

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

#if defined(__AVX2__) && defined(__FMA__) && !defined(__AVX512F__)
namespace {

constexpr int64_t BLOCK = 256, PAIRS = BLOCK / 2;
constexpr float LENGTH = 46300.0f;  // √2³¹, less what rounding can add
constexpr float LARGEST = 32767.0f;
constexpr float SMALLEST = 1e-18f;         // a line of smaller numbers counts as nothing: their squares would
constexpr int64_t ROWS = 6, COLUMNS = 16;  // of sums that fit into the registers
constexpr int64_t STEP = 4;                // pairs that are multiplied between two looks at their number
constexpr int64_t TOGETHER = 96;           // rows of a that a cache holds
constexpr int64_t LONGEST = 2016;          // rows of a, and
constexpr int64_t WIDEST = 960;            // columns of b that are laid out at once
static_assert(TOGETHER % ROWS == 0 && LONGEST % TOGETHER == 0 && WIDEST % COLUMNS == 0 && PAIRS % STEP == 0);

typedef __m256i Pairs;

constexpr int64_t up_to(int64_t count, int64_t step) { return (count + step - 1) / step * step; }

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

// A line that lies in one piece → BLOCK numbers, those behind the last 0.
float line_of_numbers(const float* from, int64_t count, int16_t* to) {
    float padded[BLOCK];
    if (count < BLOCK) {
        std::fill(std::copy_n(from, count, padded), padded + BLOCK, 0.0f);
        from = padded;
    }
    Lanes most[2] = {}, squares[2] = {};
    for (int64_t k = 0; k < BLOCK; k += 2 * LANES) {
        const Lanes low = load(from + k), high = load(from + k + LANES);
        most[0] = larger(size_of(low), most[0]), squares[0] = fused(low, low, squares[0]);
        most[1] = larger(size_of(high), most[1]), squares[1] = fused(high, high, squares[1]);
    }
    const Scale scale = scale_of(largest_of(larger(most[0], most[1])), total(squares[0] + squares[1]));
    for (int64_t k = 0; k < BLOCK; k += 2 * LANES) {
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

// A block of a side: some of its lines, `count` numbers of each.
struct Part {
    const float* from;
    int64_t along, across, lines, count;
};

// Where a pair of some lines goes: whole registers, but for what would lie behind the last.
template <int64_t W>
inline void put(int32_t* to, Pairs pairs, bool is_last) {
    if (W >= LANES || !is_last) _mm256_storeu_si256(reinterpret_cast<Pairs*>(to), pairs);
    else std::memcpy(to, &pairs, W * sizeof(int32_t));
}

// Lines that lie in one piece each, W next to each other as [PAIRS][W]. What a pair writes too far the next one
// writes over.
template <int64_t W>
void lay_out_lines(const Part& part, const Laid& to) {
    int16_t own[up_to(W, LANES)][BLOCK] = {};
    for (int64_t first = 0; first < part.lines; first += W) {
        for (int64_t i = 0; i < W; ++i) {
            const int64_t count = first + i < part.lines ? part.count : 0;
            to.back[first + i] = line_of_numbers(part.from + (first + i) * part.across, count, own[i]);
        }
        for (int64_t i = 0; i < W; i += LANES) {
            int32_t* pairs = to.pairs + first * PAIRS + i;
            for (int64_t pair = 0; pair < PAIRS; pair += LANES) {
                Pairs some[LANES];
                for (int r = 0; r < LANES; ++r)
                    some[r] = _mm256_loadu_si256(reinterpret_cast<const Pairs*>(own[i + r] + 2 * pair));
                turned_over(some);
                for (int64_t k = 0; k < LANES; ++k) put<W>(pairs + (pair + k) * W, some[k], pair + k + 1 == PAIRS);
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
    return _mm256_or_si256(_mm256_and_si256(rounded(even), _mm256_set1_epi32(0xffff)), _mm256_slli_epi32(rounded(odd), 16));
}

// The same of lines that lie side by side.
template <int64_t W>
void lay_out_across(const Part& part, const Laid& to) {
    constexpr int64_t some = 8;  // pairs whose numbers stay in the cache from some lines to the next
    float factors[LONGEST + LANES] = {};
    scales_across<W>(part, factors, to.back);
    for (int64_t start = 0; start < PAIRS; start += some) {
        for (int64_t i = 0; i < part.lines; i += std::min<int64_t>(W, LANES)) {
            const Lanes factor = load(factors + i);
            const int64_t first = i / W * W, left = part.lines - i;
            int32_t* pairs = to.pairs + first * PAIRS + start * W + i - first;
            const float* from = part.from + 2 * start * part.along + i;
            if (left >= LANES && 2 * (start + some) <= part.count && start + some < PAIRS) {
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
                put<W>(pairs + (pair - start) * W, both, pair + 1 == PAIRS);
            }
        }
    }
    for (int64_t i = part.lines; i < up_to(part.lines, W); ++i)
        for (int64_t pair = 0; pair < PAIRS; ++pair) to.pairs[i / W * W * PAIRS + pair * W + i % W] = 0;
}

// sums += a · b, two products each. Written out, as compilers would keep more of them at once than there are registers.
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

// The same where fewer rows or columns are left.
void product_at_edge(const Tile& tile, const float* base, float* c, int64_t width, int64_t rows, int64_t columns) {
    float found[ROWS * COLUMNS];
    product(tile, nullptr, found, COLUMNS);
    for (int64_t r = 0; r < rows; ++r)
        for (int64_t n = 0; n < columns; ++n)
            c[r * width + n] = found[r * COLUMNS + n] + (base ? base[r * width + n] : 0.0f);
}

// Numbers [start, start + count) along the sums.
struct Span {
    int64_t start, count;
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
            std::min(share, lines.count - i), span.count};
        const Laid to{lines.laid.pairs + i * PAIRS, lines.laid.back + i};
        if (side.along == 1) lay_out_lines<W>(part, to);
        else lay_out_across<W>(part, to);
    }
}

// The rows from number `from` of those that are laid out with all columns that are.
void some_rows(const Product& ask, const Span& span, const Lines& rows, int64_t from, const Lines& columns) {
    const int64_t N = ask.b.lines, behind = std::min(from + TOGETHER, rows.count);
    const float* base = span.start ? ask.c : ask.base;
    for (int64_t n = 0; n < columns.count; n += COLUMNS) {
        for (int64_t r = from; r < behind; r += ROWS) {
            const Tile tile{rows.laid.pairs + r * PAIRS, columns.laid.pairs + n * PAIRS, rows.laid.back + r,
                            columns.laid.back + n, up_to((span.count + 1) / 2, STEP)};
            const int64_t at = (rows.first + r) * N + columns.first + n;
            const int64_t rows_left = std::min(ROWS, rows.count - r), columns_left = std::min(COLUMNS, columns.count - n);
            const float* own = base ? base + at : nullptr;
            if (rows_left == ROWS && columns_left == COLUMNS) product(tile, own, ask.c + at, N);
            else product_at_edge(tile, own, ask.c + at, N, rows_left, columns_left);
        }
    }
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
    for (int64_t start = 0; start < K; start += BLOCK) {
        const Span span{start, std::min(BLOCK, K - start), threads};
        bench.left = bench.right = nullptr;
        for (const Product* ask = asks; ask < asks + count; ++ask) {
            for (int64_t n = 0; n < ask->b.lines; n += WIDEST) {
                const Lines columns = bench.laid<COLUMNS>(ask->b, n, WIDEST, span, bench.right);
                for (int64_t m = 0; m < ask->a.lines; m += LONGEST) {
                    const Lines rows = bench.laid<ROWS>(ask->a, m, LONGEST, span, bench.left);
#pragma omp parallel for schedule(static) num_threads(threads)
                    for (int64_t r = 0; r < rows.count; r += TOGETHER) some_rows(*ask, span, rows, r, columns);
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
#if defined(__AVX2__) && defined(__FMA__) && !defined(__AVX512F__)
    return 1;
#else
    return 0;
#endif
}

// Products that all sum over K numbers; those that share a side stand next to each other. 1 if memory is missing.
int int16_products(const Product* asks, int64_t count, int64_t K, int threads) {
#if defined(__AVX2__) && defined(__FMA__) && !defined(__AVX512F__)
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
