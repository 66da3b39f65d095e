/* A decode step between its matrix products, for one thread. `building.py` compiles this, `compiled.py` calls it. REAL is float or
 * double, WIDEST how many numbers a head may have.
 *
 * Numbers of a row lie side by side; a distance from one row (or head) to the next counts numbers, not bytes. Rows are independent: what
 * is computed for one does not depend on how many there are or where they lie.
 */
#include <math.h>
#include <stdint.h>
#include <string.h>

typedef REAL real;
enum { LINE = 64, BLOCK = 64 };  /* bytes of a cache line; tokens summed up together */

/* e^x by Cody & Waite's reduction and a polynomial of degree 7, within 2 units in the last place, and without a branch, so that compilers
 * take several at a time. Above 88 as there, below -87 zero; NaN stays. */
static inline float powerf(float x)
{
    const float least = -87.0f, most = 88.0f;
    float y = x < least ? least : x > most ? most : x;
    float whole = floorf(y * 1.44269504f + 0.5f);
    float r = y - whole * 0.693359375f - whole * -2.12194440e-4f;
    float p = 1.0f / 5040;
    p = p * r + 1.0f / 720;
    p = p * r + 1.0f / 120;
    p = p * r + 1.0f / 24;
    p = p * r + 1.0f / 6;
    p = p * r + 0.5f;
    p = p * r * r + r + 1.0f;
    int32_t bits;
    memcpy(&bits, &p, sizeof bits);
    bits += (int32_t)whole * (1 << 23);
    memcpy(&p, &bits, sizeof p);
    return x != x ? x : x < least ? 0 : p;
}

static inline real power(real x) { return sizeof(real) == sizeof(double) ? exp(x) : powerf(x); }

static inline real scale_of(int64_t d, const real *x, real floor)
{
    real sum = floor;
#pragma omp simd reduction(+ : sum)
    for (int64_t c = 0; c < d; c++)
        sum += x[c] * x[c];
    return 1 / (real)sqrt(sum);
}

/* RMSNorm of x [n, d] into y: x / sqrt(|x|^2 + floor), times weight [d] unless that is null. */
void normed(int64_t n, int64_t d, const real *x, const real *weight, real floor, real *y)
{
    for (int64_t i = 0; i < n; i++, x += d, y += d) {
        real by = scale_of(d, x, floor);
        if (weight)
            for (int64_t c = 0; c < d; c++)
                y[c] = x[c] * by * weight[c];
        else
            for (int64_t c = 0; c < d; c++)
                y[c] = x[c] * by;
    }
}

/* Heads [n, heads, d] in place, rows `row` apart: the norm above with weight [heads, d] unless that is null, then the rotary embedding
 * (Su et al. 2021): x cos + swap(x) sin with cos, sin [positions, d], where swap exchanges the two halves of a head. */
void turned(int64_t n, int64_t heads, int64_t d, real *x, int64_t row, const real *weight, real floor, const real *cos, const real *sin,
            const int64_t *positions)
{
    int64_t half = d / 2;
    for (int64_t i = 0; i < n; i++) {
        const real *restrict cosine = cos + positions[i] * d, *restrict sine = sin + positions[i] * d;
        for (int64_t h = 0; h < heads; h++) {
            real *restrict y = x + i * row + h * d;
            if (weight) {
                real by = scale_of(d, y, floor);
                for (int64_t c = 0; c < d; c++)
                    y[c] *= by * weight[h * d + c];
            }
            for (int64_t c = 0; c < half; c++) {
                real a = y[c], b = y[half + c];
                y[c] = a * cosine[c] + b * sine[c];
                y[half + c] = b * cosine[half + c] + a * sine[half + c];
            }
        }
    }
}

/* SwiGLU (Shazeer 2020): silu(gate) up of `both` [n, 2 width], gate before up, into y [n, width]. */
void gated(int64_t n, int64_t width, const real *both, real *y)
{
    for (int64_t i = 0; i < n; i++, both += 2 * width, y += width) {
        const real *restrict gate = both, *restrict up = both + width;
        real *restrict out = y;
        for (int64_t c = 0; c < width; c++)
            out[c] = gate[c] / (1 + power(-gate[c])) * up[c];
    }
}

struct place { const real *keys, *values; int64_t length; };

/* softmax(q k' scale) v for queries q [shared, d] of one head, into out; `next` is what will be read after this: memory is asked for it
 * in time. */
static inline __attribute__((always_inline)) void attend(int64_t d, int64_t shared, const real *restrict q, struct place here,
                                                          struct place next, real scale, real *restrict scores, real *restrict out)
{
    const real *restrict k = here.keys, *restrict v = here.values;
    for (int64_t j = 0; j < here.length; j++) {
        if (j < next.length)
            for (int64_t c = 0; c < d; c += LINE / sizeof(real)) {
                __builtin_prefetch(next.keys + j * d + c, 0, 2);
                __builtin_prefetch(next.values + j * d + c, 0, 2);
            }
        for (int64_t s = 0; s < shared; s++) {
            real sum = 0;
#pragma omp simd reduction(+ : sum)
            for (int64_t c = 0; c < d; c++)
                sum += q[s * d + c] * k[j * d + c];
            scores[s * here.length + j] = sum * scale;
        }
    }
    for (int64_t s = 0; s < shared; s++) {
        real *restrict p = scores + s * here.length, most = p[0], total = 0, sums[WIDEST];
#pragma omp simd reduction(max : most)
        for (int64_t j = 1; j < here.length; j++)
            most = p[j] > most ? p[j] : most;
#pragma omp simd reduction(+ : total)
        for (int64_t j = 0; j < here.length; j++) {
            p[j] = power(p[j] - most);
            total += p[j];
        }
        for (int64_t c = 0; c < d; c++)
            sums[c] = 0;
        for (int64_t j = 0; j < here.length; j++)
            for (int64_t c = 0; c < d; c++)
                sums[c] += p[j] * v[j * d + c];
        for (int64_t c = 0; c < d; c++)
            out[s * d + c] = sums[c] / total;
    }
}

/* One more token of n replies. Its keys and values k, v [n, kv, d] are stored in column `column` of the cache [n, kv, columns, d], whose
 * rows are `row` and heads `head` apart; then queries q [n, kv, shared, d] see the last positions[i] + 1 columns, at most `window`, and what
 * they see goes to out [n, kv, shared, d]. Rows of q, k and v are `from` apart. `scores` has room for shared * most columns. */
void attended(int64_t n, int64_t kv, int64_t shared, int64_t d, const real *q, const real *k, const real *v, int64_t from, real *keys,
              real *values, int64_t row, int64_t head, int64_t column, const int64_t *positions, int64_t window, real scale, real *scores,
              real *out)
{
    struct place here = {0, 0, 0}, next;
    for (int64_t t = 0; t <= n * kv; t++, here = next) {
        next = (struct place){0, 0, 0};
        if (t < n * kv) {
            int64_t i = t / kv, h = t % kv, start = i * row + h * head, new = start + column * d;
            memcpy(keys + new, k + i * from + h * d, d * sizeof(real));
            memcpy(values + new, v + i * from + h * d, d * sizeof(real));
            int64_t seen = positions[i] + 1, length = seen < window ? seen : window;
            next = (struct place){keys + start + (column + 1 - length) * d, values + start + (column + 1 - length) * d, length};
        }
        if (t == 0)
            continue;
        const real *query = q + (t - 1) / kv * from + (t - 1) % kv * shared * d;
        real *to = out + (t - 1) * shared * d;
        switch (d) {  /* a known width is unrolled */
        case 32: attend(32, shared, query, here, next, scale, scores, to); break;
        case 64: attend(64, shared, query, here, next, scale, scores, to); break;
        case 128: attend(128, shared, query, here, next, scale, scores, to); break;
        default: attend(d, shared, query, here, next, scale, scores, to);
        }
    }
}

static inline uint64_t mixed(uint64_t x)
{
    x = (x ^ x >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ x >> 27) * UINT64_C(0x94D049BB133111EB);
    return x ^ x >> 31;
}

static inline double sum_of(int64_t n, const float *x)
{
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t c = 0; c < n; c++)
        sum += x[c];
    return sum;
}

/* The first place where the running sum of x [size] exceeds `target`; the last if it never does. */
static inline int64_t reached(int64_t size, const float *x, double target)
{
    double sum = 0;
    for (int64_t start = 0; start < size; start += BLOCK) {
        int64_t end = start + BLOCK < size ? start + BLOCK : size;
        double after = sum + sum_of(end - start, x + start);
        if (after > target) {
            int64_t c = start;
            while (c < end - 1 && !((sum += x[c]) > target))
                c++;
            return c;
        }
        sum = after;
    }
    return size - 1;
}

/* The next token of n replies and its log-prob at temperature [n], from logits [n, size]: the first whose cumulative probability exceeds
 * the uniform number of (seeds, places) [n], which is that of `engines.sampling.uniforms`; at temperature 0 the most likely one, with the
 * log-prob of temperature 1. `weights` has room for `size` numbers. */
void drawn(int64_t n, int64_t size, const real *logits, const float *temperature, const int64_t *seeds, const int64_t *places,
           float *restrict weights, int64_t *tokens, float *logps)
{
    const uint64_t golden = UINT64_C(0x9E3779B97F4A7C15);
    for (int64_t i = 0; i < n; i++, logits += size) {
        float divisor = temperature[i] > 0 ? temperature[i] : 1, most = -INFINITY;
#pragma omp simd reduction(max : most)
        for (int64_t c = 0; c < size; c++) {
            weights[c] = (float)logits[c] / divisor;
            most = weights[c] > most ? weights[c] : most;
        }
        int64_t token = 0;
        if (temperature[i] <= 0)
            while (token < size - 1 && !(weights[token] >= most))
                token++;
        for (int64_t c = 0; c < size; c++)
            weights[c] = powerf(weights[c] - most);
        double total = 0;
        for (int64_t start = 0; start < size; start += BLOCK)
            total += sum_of(start + BLOCK < size ? BLOCK : size - start, weights + start);
        if (temperature[i] > 0) {
            uint64_t bits = mixed(mixed((uint64_t)seeds[i] + golden) + ((uint64_t)places[i] + 1) * golden);
            token = reached(size, weights, (double)(bits >> 11) * 0x1p-53 * total);
        }
        tokens[i] = token;
        logps[i] = (float)logits[token] / divisor - most - (float)log(total);
    }
}
