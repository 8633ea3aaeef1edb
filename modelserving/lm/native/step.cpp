// One decode step of a model built like Llama: the next token of every running sample, in one parallel region.
//
// The bits of a row depend on that row alone: not on the others, nor on the thread that computes it.
// Does not know requests or sampling.
// Legend: N rows, E hidden, H query heads, G key heads, D head width, V vocabulary.

#include <cstdlib>
#include <memory>
#include <new>
#include <omp.h>
#include <vector>

#include "panels.h"

extern "C" {

struct Layer {
    const float* norm_in;
    const float* norm_mlp;
    Matrix queries_keys_values, out, gate, up, down;
    int64_t window;  // tokens a row looks back at; 0: all
    float scaling;
};

struct Model {
    int64_t layers, hidden, heads, key_heads, width;
    float epsilon;
    const float* embedding;  // (V, E)
    const float* norm;
    Matrix head;
    const Layer* layer;
};

struct Row {              // rows of one prompt stand next to each other
    const float* prompt;  // (2, layers, G, prompt_room, D)
    float* own;           // (2, layers, G, own_room, D)
    int64_t prompt_room, prompt_tokens, own_room, stored, token;
    int64_t place;  // of its logits
};
}

namespace {

constexpr int64_t TOGETHER = 16;  // rows of a prompt that one thread takes on at once
constexpr int64_t KEYS = 8;       // keys and values that are read once for all of them

struct Freed {
    void operator()(float* floats) const { std::free(floats); }
};
using Floats = std::unique_ptr<float[], Freed>;

// Room that shares no cache line with anything else; null where there is no memory.
Floats room(int64_t count) {
    const std::size_t line = 64, lines = (count * sizeof(float) + line - 1) / line;
    return Floats(static_cast<float*>(std::aligned_alloc(line, lines * line)));
}

struct Group {
    int64_t first, count;
};

std::vector<Group> groups_of(const Row* rows, int64_t count) {
    std::vector<Group> found;
    for (int64_t r = 0; r < count; ++r) {
        const bool joins = r > 0 && rows[r].prompt == rows[r - 1].prompt && found.back().count < TOGETHER;
        if (joins) ++found.back().count;
        else found.push_back({r, 1});
    }
    return found;
}

// The norm of each row, laid out in tiles.
void normed(const float* x, const float* weight, int64_t rows, int64_t width, float epsilon, float* to) {
    for (int64_t done = 0, count; done < rows; done += count, to += count * width) {
        count = tile_of(rows - done);
        for (int64_t r = 0; r < count; ++r, x += width) {
            const float scale = 1.0f / std::sqrt(dot(x, x, width) / float(width) + epsilon);
            for (int64_t e = 0; e < width; ++e) to[e * count + r] = x[e] * scale * weight[e];
        }
    }
}

// Turns a head by its position: halves swapped, the sines signed to suit.
void turn(float* head, const float* cos, const float* sin, int64_t width) {
    for (int64_t d = 0, half = width / 2; d < half; ++d) {
        const float low = head[d], high = head[d + half];
        head[d] = low * cos[d] + high * sin[d];
        head[d + half] = high * cos[d + half] + low * sin[d + half];
    }
}

// The same for C lanes from `d` on: sums that do not wait for each other.
template <int C>
void add_lanes(float* to, const float* weights, const float* values, int64_t count, int64_t width, int64_t d) {
    Lanes sums[C];
    for (int c = 0; c < C; ++c) sums[c] = load(to + d + c * LANES);
    for (int64_t s = 0; s < count; ++s) {
        const Lanes weight = all(weights[s]);
        for (int c = 0; c < C; ++c) sums[c] = fused(load(values + s * width + d + c * LANES), weight, sums[c]);
    }
    for (int c = 0; c < C; ++c) store(to + d + c * LANES, sums[c]);
}

// to += weights · values (count, width)
void add_values(float* to, const float* weights, const float* values, int64_t count, int64_t width) {
    int64_t d = 0;
    for (; d + 8 * LANES <= width; d += 8 * LANES) add_lanes<8>(to, weights, values, count, width, d);
    for (; d + 4 * LANES <= width; d += 4 * LANES) add_lanes<4>(to, weights, values, count, width, d);
    for (; d + LANES <= width; d += LANES) add_lanes<1>(to, weights, values, count, width, d);
    for (; d < width; ++d)
        for (int64_t s = 0; s < count; ++s) to[d] += weights[s] * values[s * width + d];
}

// What all threads work on.
struct Step {
    const Model& model;
    const Row* rows;
    int64_t count, stride;  // of scores: at least the tokens that any row looks at
    const float *cos, *sin;  // (N, D)
    float *x, *wide, *mixed, *middle;  // (N, E), (N, (H + 2G) D), (N, H D), (N, inner)

    int64_t per_head() const { return model.heads / model.key_heads; }
    int64_t wide_row() const { return (model.heads + 2 * model.key_heads) * model.width; }
    float* head(int64_t row, int64_t number) const { return wide + row * wide_row() + number * model.width; }
    float* to(int64_t row, int64_t number) const {
        return mixed + (row * model.heads + number) * model.width;
    }
    // Where the keys (values: `which` 1) of a layer's head begin in a store.
    int64_t at(int64_t which, int64_t layer, int64_t key_head, int64_t tokens) const {
        return ((which * model.layers + layer) * model.key_heads + key_head) * tokens * model.width;
    }

    void score(const float* query, const float* keys, int64_t count, float* to, float scaling) const;
    void settle(int64_t r, int64_t layer, int64_t g) const;
    void attend(const Group& group, int64_t layer, int64_t g, float* scores) const;
};

// to[s] = scaling · query · keys[s]
void Step::score(const float* query, const float* keys, int64_t count, float* to, float scaling) const {
    const int64_t D = model.width;
    int64_t s = 0;
    for (; s + KEYS <= count; s += KEYS) dots<KEYS>(query, keys + s * D, D, D, to + s);
    for (; s < count; ++s) dots<1>(query, keys + s * D, D, D, to + s);
    for (s = 0; s < count; ++s) to[s] *= scaling;
}

// Turns the new queries and key of a row, and stores the key and value behind the row's own.
void Step::settle(int64_t r, int64_t layer, int64_t g) const {
    const int64_t D = model.width, H = model.heads;
    const Row& row = rows[r];
    for (int64_t q = 0; q < per_head(); ++q) turn(head(r, g * per_head() + q), cos + r * D, sin + r * D, D);
    float *key = head(r, H + g), *value = head(r, H + model.key_heads + g);
    turn(key, cos + r * D, sin + r * D, D);
    std::copy(key, key + D, row.own + at(0, layer, g, row.own_room) + row.stored * D);
    std::copy(value, value + D, row.own + at(1, layer, g, row.own_room) + row.stored * D);
}

// Attention of a group's query heads that share a key head: the prompt is read once for all of them.
void Step::attend(const Group& group, int64_t layer, int64_t g, float* scores) const {
    const int64_t D = model.width, each = per_head(), queries = group.count * each;
    const Row& first = rows[group.first];
    const int64_t P = first.prompt_tokens, window = model.layer[layer].window;
    const float scaling = model.layer[layer].scaling;
    float* mixes = scores + queries * stride;  // (queries, D)
    auto row_of = [&](int64_t q) { return group.first + q / each; };
    auto head_of = [&](int64_t q) { return g * each + q % each; };

    for (int64_t r = group.first; r < group.first + group.count; ++r) settle(r, layer, g);
    const float* keys = first.prompt + at(0, layer, g, first.prompt_room);
    for (int64_t s = 0; s < P; s += KEYS)
        for (int64_t q = 0; q < queries; ++q)
            score(head(row_of(q), head_of(q)), keys + s * D, std::min(KEYS, P - s), scores + q * stride + s, scaling);
    for (int64_t q = 0; q < queries; ++q) {
        const Row& row = rows[row_of(q)];
        const float* own = row.own + at(0, layer, g, row.own_room);
        float* mine = scores + q * stride;
        const int64_t length = P + row.stored + 1;
        score(head(row_of(q), head_of(q)), own, length - P, mine + P, scaling);
        const int64_t hidden = window ? std::max<int64_t>(0, length - window) : 0;
        std::fill(mine, mine + hidden, -INFINITY);
        softmaxed(mine, length);
    }
    std::fill(mixes, mixes + queries * D, 0.0f);
    const float* values = first.prompt + at(1, layer, g, first.prompt_room);
    for (int64_t s = 0; s < P; s += KEYS)
        for (int64_t q = 0; q < queries; ++q)
            add_values(mixes + q * D, scores + q * stride + s, values + s * D, std::min(KEYS, P - s), D);
    for (int64_t q = 0; q < queries; ++q) {
        const Row& row = rows[row_of(q)];
        const float* own = row.own + at(1, layer, g, row.own_room);
        add_values(mixes + q * D, scores + q * stride + P, own, row.stored + 1, D);
        std::copy_n(mixes + q * D, D, to(row_of(q), head_of(q)));
    }
}

// One block, by all threads of the region; `h` is the calling thread's own: inputs of a matrix.
void block(const Step& step, const std::vector<Group>& groups, int64_t index, float* h, float* scores) {
    const Model& model = step.model;
    const Layer& layer = model.layer[index];
    const int64_t N = step.count, E = model.hidden, inner = layer.gate.outputs;
    normed(step.x, layer.norm_in, N, E, model.epsilon, h);
#pragma omp for schedule(static)
    for (int64_t pair = 0; pair < pairs_of(layer.queries_keys_values); ++pair) {
        const Matrix& m = layer.queries_keys_values;
        each_row(m, pair, h, N, [&](int64_t r, int64_t p, Lanes sums) { put(step.wide + r * m.outputs, m, p, sums); });
    }
    const int64_t pairs = int64_t(groups.size()) * model.key_heads;
#pragma omp for schedule(dynamic)
    for (int64_t pair = 0; pair < pairs; ++pair)
        step.attend(groups[pair / model.key_heads], index, pair % model.key_heads, scores);
    auto add = [&](const Matrix& m, int64_t pair, const float* from) {
        each_row(m, pair, from, N, [&](int64_t r, int64_t p, Lanes sums) {
            put(step.x + r * E, m, p, taken(step.x + r * E, m, p) + sums);
        });
    };
    tiled(step.mixed, N, layer.out.inputs, h);
#pragma omp for schedule(static)
    for (int64_t pair = 0; pair < pairs_of(layer.out); ++pair) add(layer.out, pair, h);
    normed(step.x, layer.norm_mlp, N, E, model.epsilon, h);
#pragma omp for schedule(static)
    for (int64_t p = 0; p < panels_of(layer.gate); ++p) {
        const Pair both{{panel_of(layer.gate, p), panel_of(layer.up, p)}, E, E * LANES};
        each_row(both, h, N, [&](int64_t r, Lanes gate, Lanes up) {
            put(step.middle + r * inner, layer.gate, p, silu(gate) * up);
        });
    }
    tiled(step.middle, N, inner, h);
#pragma omp for schedule(static)
    for (int64_t pair = 0; pair < pairs_of(layer.down); ++pair) add(layer.down, pair, h);
}
}  // namespace

// Outputs of a panel, as matrices must be laid out.
extern "C" int lanes() { return LANES; }

// logits of the new token of each row, whose keys and values are stored on the way. 1 where there is no memory.
extern "C" int read_rows(
    const Model* model, const Row* rows, int64_t N, const float* cos, const float* sin, float* logits, int threads) try {
    const int64_t E = model->hidden, V = model->head.outputs, D = model->width, mixed = model->heads * D;
    const int64_t wide = (model->heads + 2 * model->key_heads) * D;
    int64_t inner = 0, longest = 0;
    for (int64_t l = 0; l < model->layers; ++l) inner = std::max(inner, model->layer[l].gate.outputs);
    for (int64_t r = 0; r < N; ++r) longest = std::max(longest, rows[r].prompt_tokens + rows[r].stored + 1);
    const int64_t stride = up_to_lanes(longest), queries = TOGETHER * (model->heads / model->key_heads);
    const int64_t inputs = up_to_lanes(N * std::max({E, mixed, inner})), line = 16;
    const int64_t own = (inputs + queries * (stride + D) + line - 1) / line * line;  // no cache line is shared
    const Floats shared = room(N * (E + wide + mixed + inner)), threadwise = room(threads * own);
    if (!shared || !threadwise) return 1;
    float* x = shared.get();
    const Step step{*model, rows, N, stride, cos, sin, x, x + N * E, x + N * (E + wide), x + N * (E + wide + mixed)};
    const std::vector<Group> groups = groups_of(rows, N);
    for (int64_t r = 0; r < N; ++r) std::copy_n(model->embedding + rows[r].token * E, E, x + r * E);
#pragma omp parallel num_threads(threads)
    {
        float* h = threadwise.get() + omp_get_thread_num() * own;
        for (int64_t l = 0; l < model->layers; ++l) block(step, groups, l, h, h + inputs);
        normed(x, model->norm, N, E, model->epsilon, h);
#pragma omp for schedule(static)
        for (int64_t pair = 0; pair < pairs_of(model->head); ++pair)
            each_row(model->head, pair, h, N, [&](int64_t r, int64_t p, Lanes sums) {
                put(logits + rows[r].place * V, model->head, p, sums);
            });
    }
    return 0;
} catch (const std::bad_alloc&) {
    return 1;
}
