// The passes of a block between its products, forward and backward: each reads and writes its numbers once.
//
// Numbers are float32 or bfloat16 and computed in float32; sums go in an order that depends on sizes alone.
// Legend: T tokens, E hidden, I width of the MLP, H heads, D head width, N rows and V vocabulary of logits.

#include <algorithm>
#include <cmath>

#include "numbers.h"

namespace {

template <typename Number>
void norm(const Number* x, const Number* weight, int64_t T, int64_t E, float epsilon, Number* to, float* scales, int threads) {
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t t = 0; t < T; ++t) {
        const Number* from = x + t * E;
        Lanes squares{};
        for (int64_t e = 0; e < E; e += LANES) {
            const Lanes here = load(from + e, E - e);
            squares += here * here;
        }
        const float scale = 1.0f / std::sqrt(total(squares) / float(E) + epsilon);
        scales[t] = scale;
        for (int64_t e = 0; e < E; e += LANES)
            store(to + t * E + e, load(from + e, E - e) * scale * load(weight + e, E - e), E - e);
    }
}

// of_x = scale · (w∘g − n · mean(w∘g∘n)) + carried, and each chunk's share of Σ g∘n.
template <typename Number>
void normed_back(
    const Number* given, const Number* x, const Number* weight, const float* scales, const Number* carried, int64_t T,
    int64_t E, Number* of_x, float* shares, int64_t together, int64_t width, int threads) {
    const int64_t chunks = (T + together - 1) / together;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t chunk = 0; chunk < chunks; ++chunk) {
        float* share = shares + chunk * width;
        std::fill_n(share, width, 0.0f);
        for (int64_t t = chunk * together; t < std::min(T, (chunk + 1) * together); ++t) {
            const Number *g = given + t * E, *from = x + t * E;
            const float scale = scales[t];
            Lanes along{};
            for (int64_t e = 0; e < E; e += LANES) {
                const Lanes both = load(g + e, E - e) * (load(from + e, E - e) * scale);
                store(share + e, load(share + e) + both);
                along += both * load(weight + e, E - e);
            }
            const float mean = total(along) / float(E);
            for (int64_t e = 0; e < E; e += LANES) {
                const int64_t left = E - e;
                const Lanes normal = load(from + e, left) * scale;
                Lanes found = (load(g + e, left) * load(weight + e, left) - normal * mean) * scale;
                if (carried) found += load(carried + t * E + e, left);
                store(of_x + t * E + e, found, left);
            }
        }
    }
}

// silu(gate) ∘ up
template <typename Number>
void gated(const Number* gate, const Number* up, int64_t count, Number* to, int threads) {
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t at = 0; at < count; at += LANES) {
        const Lanes g = load(gate + at, count - at);
        store(to + at, g * sigmoid(g) * load(up + at, count - at), count - at);
    }
}

template <typename Number>
void gated_back(
    const Number* given, const Number* gate, const Number* up, int64_t count, Number* of_gate, Number* of_up,
    Number* inner, int threads) {
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t at = 0; at < count; at += LANES) {
        const int64_t left = count - at;
        const Lanes g = load(gate + at, left), u = load(up + at, left), upstream = load(given + at, left);
        const Lanes share = sigmoid(g), opened = g * share;
        store(of_gate + at, upstream * u * (share + opened * (1.0f - share)), left);
        store(of_up + at, upstream * opened, left);
        store(inner + at, opened * u, left);
    }
}

// Σ take(probability before division, its exponent) over a row, block by block.
template <typename Number, typename Take>
double summed(const Number* logits, int64_t V, float highest, float sharpness, Take take) {
    double all = 0.0;
    for (int64_t start = 0; start < V; start += BLOCK) {
        Lanes sums{};
        for (int64_t v = start; v < std::min(V, start + BLOCK); v += LANES) {
            const int64_t left = V - v;
            const Lanes exponent = (load(logits + v, left) - highest) * sharpness;
            Lanes found = take(exponential(exponent), exponent);
            if (left < LANES)
                for (int64_t k = left; k < LANES; ++k) found[k] = 0.0f;
            sums += found;
        }
        all += total(sums);
    }
    return all;
}

// log softmax(z / τ) at one token of each row, and of each row the highest logit and log Σ e^((z − highest) / τ).
template <typename Number>
void chosen(
    const Number* logits, const int64_t* tokens, int64_t N, int64_t V, float sharpness, float* logprobs, float* sums,
    int threads) {
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t n = 0; n < N; ++n) {
        const Number* row = logits + n * V;
        const float highest = highest_of(row, V);
        const double all = summed(row, V, highest, sharpness, [](Lanes p, Lanes) { return p; });
        sums[2 * n] = highest, sums[2 * n + 1] = float(std::log(all));
        logprobs[n] = (widened(row[tokens[n]]) - highest) * sharpness - sums[2 * n + 1];
    }
}

// −Σ p log p of each row.
template <typename Number>
void entropies_of(const Number* logits, int64_t N, int64_t V, float sharpness, const float* sums, float* to, int threads) {
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t n = 0; n < N; ++n) {
        const double mean = summed(logits + n * V, V, sums[2 * n], sharpness, [](Lanes p, Lanes exponent) {
            return exponent < -87.0f ? Lanes{} : p * exponent;
        });
        to[n] = float(sums[2 * n + 1] - mean / std::exp(double(sums[2 * n + 1])));
    }
}

// (1[chosen] − softmax) · given / τ
template <typename Number>
void chosen_back(
    const Number* logits, const int64_t* tokens, const float* given, const float* sums, int64_t N, int64_t V,
    float sharpness, Number* to, int threads) {
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t n = 0; n < N; ++n) {
        const Number* row = logits + n * V;
        const float share = -given[n] * sharpness, highest = sums[2 * n], log_sum = sums[2 * n + 1];
        for (int64_t v = 0; v < V; v += LANES) {
            const Lanes exponent = (load(row + v, V - v) - highest) * sharpness - log_sum;
            store(to + n * V + v, exponential(exponent > 0.0f ? Lanes{} : exponent) * share, V - v);
        }
        const int64_t v = tokens[n] / LANES * LANES;
        const Lanes exponent = (load(row + v, V - v) - highest) * sharpness - log_sum;
        Lanes found = exponential(exponent > 0.0f ? Lanes{} : exponent) * share;
        found[tokens[n] - v] -= share;
        store(to + n * V + v, found, V - v);
    }
}
}  // namespace

extern "C" {

void norm_forward(
    int is_half, const void* x, const void* weight, int64_t T, int64_t E, float epsilon, void* to, float* scales, int threads) {
    typed(is_half, [&](auto number) {
        using Number = decltype(number);
        norm(read<Number>(x), read<Number>(weight), T, E, epsilon, written<Number>(to), scales, threads);
    });
}

// `shares` has a row for each `together` tokens, `width` numbers long: E, up to whole lanes.
void norm_backward(
    int is_half, const void* given, const void* x, const void* weight, const float* scales, const void* carried,
    int64_t T, int64_t E, void* of_x, float* shares, int64_t together, int64_t width, int threads) {
    typed(is_half, [&](auto number) {
        using Number = decltype(number);
        normed_back(
            read<Number>(given), read<Number>(x), read<Number>(weight), scales, read<Number>(carried), T, E,
            written<Number>(of_x), shares, together, width, threads);
    });
}

void gated_forward(int is_half, const void* gate, const void* up, int64_t count, void* to, int threads) {
    typed(is_half, [&](auto number) {
        using Number = decltype(number);
        gated(read<Number>(gate), read<Number>(up), count, written<Number>(to), threads);
    });
}

void gated_backward(
    int is_half, const void* given, const void* gate, const void* up, int64_t count, void* of_gate, void* of_up,
    void* inner, int threads) {
    typed(is_half, [&](auto number) {
        using Number = decltype(number);
        gated_back(
            read<Number>(given), read<Number>(gate), read<Number>(up), count, written<Number>(of_gate),
            written<Number>(of_up), written<Number>(inner), threads);
    });
}

void chosen_forward(
    int is_half, const void* logits, const int64_t* tokens, int64_t N, int64_t V, float sharpness, float* logprobs,
    float* sums, int threads) {
    typed(is_half, [&](auto number) {
        chosen(read<decltype(number)>(logits), tokens, N, V, sharpness, logprobs, sums, threads);
    });
}

void entropies(
    int is_half, const void* logits, int64_t N, int64_t V, float sharpness, const float* sums, float* to, int threads) {
    typed(is_half, [&](auto number) {
        entropies_of(read<decltype(number)>(logits), N, V, sharpness, sums, to, threads);
    });
}

void chosen_backward(
    int is_half, const void* logits, const int64_t* tokens, const float* given, const float* sums, int64_t N, int64_t V,
    float sharpness, void* to, int threads) {
    typed(is_half, [&](auto number) {
        using Number = decltype(number);
        chosen_back(read<Number>(logits), tokens, given, sums, N, V, sharpness, written<Number>(to), threads);
    });
}
}

