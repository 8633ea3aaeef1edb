// Products with a matrix laid out in panels, each row's bits its own.
//
// Legend: I inputs and O outputs of a matrix.

#pragma once

#include "numbers.h"

extern "C" struct Matrix {  // panels [O / LANES][I][LANES], the last one padded with zeros
    const float* panels;
    const float* bias;  // padded likewise, or null
    int64_t inputs, outputs;
};

inline int64_t panels_of(const Matrix& m) { return up_to_lanes(m.outputs) / LANES; }

// How many of the rows that are left are multiplied together.
inline int64_t tile_of(int64_t left) {
    if (left >= TILE) return TILE;
    return left >= 4 ? 4 : left >= 2 ? 2 : 1;
}

// Lays x (rows, I) out for products: tiles of rows one after another, in each (I, rows of the tile).
inline void tiled(const float* x, int64_t rows, int64_t inputs, float* to) {
    for (int64_t done = 0, count; done < rows; done += count) {
        count = tile_of(rows - done);
        const float* from = x + done * inputs;
        float* tile = to + done * inputs;
        for (int64_t r = 0; r < count; ++r)
            for (int64_t i = 0; i < inputs; ++i) tile[i * count + r] = from[r * inputs + i];
    }
}

// One panel of a matrix (I, LANES), and its bias or null.
struct Panel {
    const float *weights, *bias;
};

// Two panels that are multiplied together, and how many numbers on the next ones of their matrices lie.
struct Pair {
    Panel panels[2];
    int64_t inputs, next;
};

inline Panel panel_of(const Matrix& m, int64_t panel) {
    return {m.panels + panel * m.inputs * LANES, m.bias ? m.bias + panel * LANES : nullptr};
}

// sums[0][r] and sums[1][r] = bias + x[r] · panel, for two panels and the R rows of a tile: sums fill the registers.
// The panels that come next are fetched on the way: with few rows a step takes as long as its weights do to arrive.
template <int R>
inline void product(const Pair& pair, const float* tile, Lanes (&sums)[2][TILE]) {
    const auto& [low_panel, high_panel] = pair.panels;
    Lanes low[R], high[R];
    for (int r = 0; r < R; ++r) {
        low[r] = low_panel.bias ? load(low_panel.bias) : Lanes{};
        high[r] = high_panel.bias ? load(high_panel.bias) : Lanes{};
    }
    const float *from_low = low_panel.weights, *from_high = high_panel.weights;
    for (int64_t i = 0; i < pair.inputs; ++i, from_low += LANES, from_high += LANES, tile += R) {
        const Lanes first = held(load(from_low)), second = held(load(from_high));
        __builtin_prefetch(from_low + pair.next, 0, 2);
        __builtin_prefetch(from_high + pair.next, 0, 2);
        for (int r = 0; r < R; ++r) {
            const Lanes number = all(tile[r]);
            low[r] = fused(first, number, low[r]);
            high[r] = fused(second, number, high[r]);
        }
    }
    for (int r = 0; r < R; ++r) sums[0][r] = low[r], sums[1][r] = high[r];
}

// Hands `take(row, first sums, second sums)` the products of two panels with every row of x, laid out in tiles.
template <typename Take>
inline void each_row(const Pair& pair, const float* x, int64_t rows, Take take) {
    Lanes sums[2][TILE];
    for (int64_t done = 0, count; done < rows; done += count) {
        const float* tile = x + done * pair.inputs;
        count = tile_of(rows - done);
        if (count == TILE) product<TILE>(pair, tile, sums);
        else if (count == 4) product<4>(pair, tile, sums);
        else if (count == 2) product<2>(pair, tile, sums);
        else product<1>(pair, tile, sums);
        for (int64_t r = 0; r < count; ++r) take(done + r, sums[0][r], sums[1][r]);
    }
}

inline int64_t pairs_of(const Matrix& m) { return (panels_of(m) + 1) / 2; }

// The same of a matrix's panels number 2 · pair and the one behind it: `take(row, panel, sums)`.
template <typename Take>
inline void each_row(const Matrix& m, int64_t pair, const float* x, int64_t rows, Take take) {
    const int64_t first = 2 * pair, second = std::min(first + 1, panels_of(m) - 1);
    const Pair both{{panel_of(m, first), panel_of(m, second)}, m.inputs, 2 * m.inputs * LANES};
    each_row(both, x, rows, [&](int64_t r, Lanes low, Lanes high) {
        take(r, first, low);
        if (second > first) take(r, second, high);
    });
}

// Writes the lanes of a panel that are outputs.
inline void put(float* to, const Matrix& m, int64_t panel, Lanes lanes) {
    const int64_t at = panel * LANES;
    if (at + LANES <= m.outputs) return store(to + at, lanes);
    for (int64_t o = at; o < m.outputs; ++o) to[o] = lanes[o - at];
}

// Reads them; 0 where the panel is padded.
inline Lanes taken(const float* from, const Matrix& m, int64_t panel) {
    const int64_t at = panel * LANES;
    if (at + LANES <= m.outputs) return load(from + at);
    Lanes lanes{};
    for (int64_t o = at; o < m.outputs; ++o) lanes[o - at] = from[o];
    return lanes;
}
