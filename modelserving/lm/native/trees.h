// The trees of a packed row and the room in which their heads are multiplied.
//
// Legend: T tokens and Q queries of the row, N keys and M queries of a tree, H heads, G key heads, D head width.

#pragma once

#include <limits>
#include <vector>

#include "numbers.h"

constexpr int PANEL = 2 * LANES;            // numbers of a row that are summed side by side
constexpr int ROWS = LANES == 16 ? 12 : 6;  // rows that are summed together: all sums fit into the registers
constexpr int REST = PANEL % ROWS;          // and those that are left of a panel of keys
constexpr int64_t QUERIES = 48;             // of a block, whose scores a cache holds
static_assert(QUERIES % ROWS == 0);

struct Angles {  // of some tokens, (D) each; the sines are negative in the first half
    const void *cos, *sin;
};

// Which tokens of the row are multiplied together.
extern "C" struct Trees {
    const int64_t *starts;  // (trees + 1) where each tree begins, and where the last one ends
    int64_t trees;
    const int64_t *subtree_ends, *positions;  // (T)
    int64_t reach;  // a query sees keys of its branch less than so many positions before it
    const int64_t *queries, *query_starts;  // the queries, tree by tree; (trees + 1) where each tree's begin
    const int64_t *asked;  // (Q) row index of each query; null: all tokens ask
};

extern "C" struct Heads {
    Angles of_queries, of_keys;
    int64_t query_heads, key_heads, width;
    float scale;
};

// Room for numbers that outlives its use.
class Room {
public:
    float* room(int64_t count) {
        if (int64_t(numbers.size()) < count) numbers.resize(count);
        return numbers.data();
    }
    float* zeros(int64_t count) {
        std::fill_n(room(count), count, 0.0f);
        return numbers.data();
    }

private:
    std::vector<float> numbers;
};

// One matrix (count, D) laid out for products. Rows behind the last are zeros, and so is what fills panels up; the
// rest is for its owner to write.
struct Laid {
    int64_t rows, width;  // both in whole panels
    Room plain_room, columns_room, across_room;
    float *plain = nullptr, *columns = nullptr, *across = nullptr;

    void make(int64_t count, int64_t D) {
        rows = up_to(count + ROWS - 1, PANEL), width = up_to(D, PANEL);
        plain = plain_room.room(rows * width);
        const int64_t written = D == width ? count * width : 0;
        std::fill(plain + written, plain + rows * width, 0.0f);
    }
    // [width / PANEL][rows][PANEL]
    void by_columns() {
        columns = columns_room.room(rows * width);
        for (int64_t d = 0; d < width; d += PANEL)
            for (int64_t n = 0; n < rows; ++n)
                for (int k = 0; k < PANEL; k += LANES)
                    store(columns + d * rows + n * PANEL + k, load(plain + n * width + d + k));
    }
    // [rows / PANEL][width][PANEL]
    void transposed() {
        across = across_room.room(rows * width);
        for (int64_t n = 0; n < rows; n += PANEL)
            for (int64_t d = 0; d < width; ++d)
                for (int64_t k = 0; k < PANEL; ++k) across[n * width + d * PANEL + k] = plain[(n + k) * width + d];
    }
};

struct Range {  // keys [first, last) that a block looks at, and the column where their scores begin
    int64_t first, last, column;
};

// Queries [first, first + rows); the scores of the keys that each looks at lie `stride` apart.
struct Block {
    int64_t first, rows, stride;
};

// What a thread keeps from one tree to the next.
struct Bench {
    Laid key, value, query, given;
    Room scores_room, of_scores_room, result_room, of_query_room, of_key_room, of_value_room;
    std::vector<int32_t> ends, positions, indices, query_positions;  // of keys, of queries; counted from the tree's start
    std::vector<int32_t> soonest, latest;                            // ends of each panel of keys
    std::vector<Range> ranges;
    std::vector<int64_t> seen;  // columns of a block's scores that its rows may look at, ROWS by ROWS, rising
};

// Calls `work(key, column, row)` for each panel of keys that a block looks at, from that row on.
template <typename Work>
void each_panel(const Bench& bench, Work work) {
    int64_t row = 0;
    for (const Range& range : bench.ranges)
        for (int64_t n = range.first, column = range.column; n < range.last; n += PANEL, column += PANEL) {
            while (bench.seen[row / ROWS] <= column) row += ROWS;
            work(n, column, row);
        }
}

// The tree, its keys' ends and positions, its queries' places.
class Tree {
public:
    Tree(const Trees& row, int64_t tree, Bench& bench) : bench(bench) {
        start = row.starts[tree], N = row.starts[tree + 1] - start;
        queries = row.queries + row.query_starts[tree], M = row.query_starts[tree + 1] - row.query_starts[tree];
        const int64_t keys = up_to(N, PANEL), asking = up_to(std::max<int64_t>(M, 1), ROWS);
        bench.ends.assign(keys, 0), bench.positions.assign(keys, 0);
        for (int64_t n = 0; n < N; ++n) {
            bench.ends[n] = int32_t(row.subtree_ends[start + n] - start);
            bench.positions[n] = int32_t(row.positions[start + n]);
        }
        bench.indices.assign(asking, 0), bench.query_positions.assign(asking, 0);
        for (int64_t m = 0; M && m < asking; ++m) {  // behind the last query stands the last query
            const int64_t query = queries[std::min(m, M - 1)], index = row.asked ? row.asked[query] : query;
            bench.indices[m] = int32_t(index - start);
            bench.query_positions[m] = int32_t(row.positions[index]);
        }
        bench.soonest.clear(), bench.latest.clear();
        for (int64_t n = 0; n < keys; n += PANEL) {
            const auto first = bench.ends.begin() + n, behind = bench.ends.begin() + std::min(n + PANEL, N);
            bench.soonest.push_back(n + PANEL > N ? 0 : *std::min_element(first, behind));
            bench.latest.push_back(*std::max_element(first, behind));
        }
        reach = int32_t(std::min<int64_t>(row.reach, std::numeric_limits<int32_t>::max()));
    }

    // Which keys the queries from `first` on look at, in whole panels.
    Block look(int64_t first) {
        const int64_t last = std::min(first + QUERIES, up_to(M, ROWS));
        const auto [low, high] = std::minmax_element(bench.indices.begin() + first, bench.indices.begin() + last);
        lowest = *low, highest = *high;
        auto& ranges = bench.ranges;
        ranges.clear();
        int64_t column = 0;
        for (int64_t n = 0; n <= highest; n += PANEL) {
            if (bench.latest[n / PANEL] <= lowest) continue;
            if (!ranges.empty() && ranges.back().last == n) ranges.back().last += PANEL;
            else ranges.push_back({n, n + PANEL, column});
            column += PANEL;
        }
        bench.seen.clear();
        for (int64_t m = first, most = 0; m < last; m += ROWS) {
            most = std::max<int64_t>(most, *std::max_element(bench.indices.begin() + m, bench.indices.begin() + m + ROWS));
            int64_t columns = 0;
            for (const Range& range : ranges)
                if (range.first <= most) columns = range.column + std::min(range.last, up_to(most + 1, PANEL)) - range.first;
            bench.seen.push_back(columns);
        }
        const int64_t line = 16;  // numbers of a cache line: an even count of them would bring rows into each other's way
        return {first, last - first, column / line % 2 ? column : column + line};
    }

    bool all_may_look(int64_t panel) const {
        const bool is_near = reach == std::numeric_limits<int32_t>::max();
        return is_near && panel + PANEL - 1 <= lowest && bench.soonest[panel / PANEL] > highest;
    }

    // −∞ where query m may not look at the keys of a panel.
    void mask(int64_t m, int64_t panel, float* scores) const {
        const int32_t q = bench.indices[m], position = bench.query_positions[m];
        WholeLanes key = WholeLanes{} + int32_t(panel);
        for (int k = 0; k < LANES; ++k) key[k] += k;
        for (int half = 0; half < 2; ++half, key += LANES, scores += LANES) {
            WholeLanes ends, positions;
            std::memcpy(&ends, bench.ends.data() + panel + half * LANES, sizeof ends);
            std::memcpy(&positions, bench.positions.data() + panel + half * LANES, sizeof positions);
            const WholeLanes may = (key <= q) & (ends > q) & (position - positions < reach);
            store(scores, may ? load(scores) : all(-INFINITY));
        }
    }

    int64_t start, N, M;
    const int64_t* queries;

private:
    Bench& bench;
    int32_t lowest, highest, reach;
};
