// Draws the next token of every row of logits, each with its own temperature and random number.
//
// Does not know requests or the model. Legend: N rows, V vocabulary.

#include <memory>
#include <new>
#include <omp.h>

#include "numbers.h"

namespace {

// The token at which the cumulative probability exceeds `uniform`, and its log-probability.
void draw_one(const float* logits, int64_t V, float temperature, double uniform, float* room, int64_t* token, float* logprob) {
    int64_t best = 0;
    const float highest = highest_of(logits, V);
    const float scale = 1.0f / (temperature == 0.0f ? 1.0f : temperature);
    std::copy_n(logits, V, room);
    std::fill(room + V, room + (V + BLOCK - 1) / BLOCK * BLOCK, -INFINITY);
    double all = 0.0;
    for (int64_t start = 0; start < V; start += BLOCK) {
        Lanes sums{};
        for (int64_t at = start; at < start + BLOCK; at += LANES) {
            const Lanes found = exponential((load(room + at) - highest) * scale);
            store(room + at, found);
            sums += found;
        }
        all += total(sums);
    }
    if (temperature == 0.0f) {
        while (best + 1 < V && logits[best] != highest) ++best;
    } else {
        const double aim = uniform * all;
        double before = 0.0;
        int64_t start = 0;
        for (; start + BLOCK < V; start += BLOCK) {
            Lanes sums{};
            for (int64_t at = start; at < start + BLOCK; at += LANES) sums += load(room + at);
            const double here = total(sums);
            if (before + here > aim) break;
            before += here;
        }
        best = start;
        for (int64_t at = start; at < V; ++at) {  // the last that is possible, where rounding leaves none
            if (room[at] > 0.0f) best = at;
            before += room[at];
            if (before > aim) break;
        }
    }
    *token = best;
    *logprob = float(double(logits[best] - highest) * scale - std::log(all));
}
}  // namespace

// Temperature 0 takes the likeliest token and tells its log-probability at temperature 1. 1 where there is no memory.
extern "C" int draw(
    const float* logits, int64_t N, int64_t V, const float* temperatures, const double* uniforms, int64_t* tokens,
    float* logprobs, int threads) {
    const int64_t each = up_to_lanes(V + BLOCK);
    const std::unique_ptr<float[]> room(new (std::nothrow) float[threads * each]);
    if (!room) return 1;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t r = 0; r < N; ++r)
        draw_one(
            logits + r * V, V, temperatures[r], uniforms[r], room.get() + omp_get_thread_num() * each, tokens + r,
            logprobs + r);
    return 0;
}
