/* One decoding step of a LocalTransformer on a CPU, all layers in one call.

   Decoding reads every weight once a step, so its speed is that of the memory, if nothing else is
   in the way. A step of a small network through a framework is mostly the framework; here it is
   one parallel region. Weights are the network's own tensors, float32, row-major, (out, in).

   Vectors are GCC/Clang vector extensions, so that any CPU's widest registers are used. */

#include <math.h>
#include <stdint.h>

#define LANES 16
#define COLUMNS 8 /* columns a block has */
#define FEW 4     /* rows that are multiplied as they are */
typedef float lanes __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef uint32_t words __attribute__((vector_size(4 * LANES)));
typedef uint16_t halves __attribute__((vector_size(2 * LANES), aligned(2), may_alias));
#define INLINE static inline __attribute__((always_inline))

typedef struct {
    const float *attention_norm, *attention_bias, *qkv, *out;
    const float *feed_norm, *feed_bias, *up, *down;
    void *cache; /* (rows, 2, heads, slots, head_width) */
} layer_t;

typedef struct {
    int64_t width, depth, heads, head_width, inner, vocabulary;
    int64_t window, slots; /* slots a row has: window + 1, and one more with the phantom */
    int64_t phantom;       /* the last slot stands for the padding that the first window saw */
    int64_t half;          /* keys and values are kept as bfloat16, else as float32 */
    const float *speeds;   /* rotary speeds, (head_width / 2) */
    const float *norm, *bias, *head;
    const layer_t *layers;
} network_t;

INLINE lanes load(const float *p) { return *(const lanes *)p; }

typedef union { lanes whole; float part[LANES]; } parts;

/* Every sum is added up in one order, however many rows there are, so that what a row comes to does not depend on
   what else is in the batch: number i into lane i % LANES, then the upper half of the lanes onto the lower one. */
INLINE float sum(lanes v)
{
    parts p = {v};
    for (int half = LANES / 2; half; half /= 2)
        for (int i = 0; i < half; i++) p.part[i] += p.part[i + half];
    return p.part[0];
}

/* Dot products of M rows of x with one row of w, all k long; M is a constant where it is inlined. One row
   of w after the other, since memory is read fastest in one direction. y[m * COLUMNS] */
INLINE void dots(const float *x, const float *w, int64_t k, float *y, const int M)
{
    lanes acc[FEW];
    for (int m = 0; m < M; m++) acc[m] = (lanes){0};
    int64_t i = 0;
    for (; i + LANES <= k; i += LANES) {
        lanes b = load(w + i);
        for (int m = 0; m < M; m++) acc[m] += load(x + m * k + i) * b;
    }
    for (int m = 0; m < M; m++) {
        parts p = {acc[m]};
        for (int64_t j = i; j < k; j++) p.part[j - i] += x[m * k + j] * w[j];
        y[m * COLUMNS] = sum(p.whole);
    }
}

/* Up to LANES rows with one row of w, x packed with a lane for each row: (k, LANES). The accumulators are the
   lanes of `dots`. */
INLINE void packed_dots(const lanes *x, const float *w, int64_t k, float *y)
{
    lanes acc[LANES];
    for (int j = 0; j < LANES; j++) acc[j] = (lanes){0};
    int64_t i = 0;
    for (; i + LANES <= k; i += LANES) {
        __builtin_prefetch(w + k + i); /* the next row: a CPU does not foresee it behind so many others */
        for (int j = 0; j < LANES; j++) acc[j] += x[i + j] * w[i + j];
    }
    for (int j = 0; j < LANES; j++)
        if (i + j < k) acc[j] += x[i + j] * w[i + j];
    for (int half = LANES / 2; half; half /= 2)
        for (int j = 0; j < half; j++) acc[j] += acc[j + half];
    for (int m = 0; m < LANES; m++) y[m * COLUMNS] = acc[0][m];
}

/* A block of x w^T: `height` rows by `columns` columns from one group of rows, y (height, COLUMNS). */
static void block(const float *x, const lanes *packed, int64_t height, const float *w, int64_t columns, int64_t k, float *y)
{
    int64_t n = 0;
    if (packed) {
        for (; n < columns; n++) packed_dots(packed, w + n * k, k, y + n);
        return;
    }
    for (; n < columns; n++, w += k)
        switch (height) {
        case 1: dots(x, w, k, y + n, 1); break;
        case 2: dots(x, w, k, y + n, 2); break;
        case 3: dots(x, w, k, y + n, 3); break;
        default: dots(x, w, k, y + n, FEW);
        }
}

/* How rows are taken together: a few as they are, many packed. */
typedef struct { const float *x; const lanes *packed; int64_t rows, k, group; } operand_t;

static operand_t operand(const float *x, int64_t rows, int64_t k, lanes *room)
{
    if (rows <= FEW) return (operand_t){x, 0, rows, k, FEW};
    int64_t groups = (rows + LANES - 1) / LANES;
#pragma omp for schedule(static)
    for (int64_t i = 0; i < groups * k; i++) {
        int64_t first = i / k * LANES;
        for (int64_t m = 0; m < LANES; m++) room[i][m] = first + m < rows ? x[(first + m) * k + i % k] : 0;
    }
    return (operand_t){x, room, rows, k, LANES};
}

/* y = x w^T, or y += x w^T; w (n, k), y (rows, n). Shared by the threads of the region. */
static void multiply(operand_t in, const float *w, int64_t n, float *y, int add)
{
#pragma omp for schedule(static)
    for (int64_t column = 0; column < n; column += COLUMNS) {
        int64_t columns = n - column < COLUMNS ? n - column : COLUMNS;
        for (int64_t row = 0; row < in.rows; row += in.group) {
            int64_t height = in.rows - row < in.group ? in.rows - row : in.group;
            float found[LANES * COLUMNS];
            block(in.x + row * in.k, in.packed ? in.packed + row / LANES * in.k : 0, height, w + column * in.k, columns,
                  in.k, found);
            for (int64_t m = 0; m < height; m++)
                for (int64_t c = 0; c < columns; c++) {
                    float *target = y + (row + m) * n + column + c;
                    *target = add ? *target + found[m * COLUMNS + c] : found[m * COLUMNS + c];
                }
        }
    }
}

/* y = value * GELU(gate), where value and gate are the halves of x w^T; y (rows, inner), w (2 inner, k). */
static void gated(operand_t in, const float *w, int64_t inner, float *y)
{
#pragma omp for schedule(static)
    for (int64_t column = 0; column < inner; column += COLUMNS) {
        int64_t columns = inner - column < COLUMNS ? inner - column : COLUMNS;
        for (int64_t row = 0; row < in.rows; row += in.group) {
            int64_t height = in.rows - row < in.group ? in.rows - row : in.group;
            const float *x = in.x + row * in.k;
            const lanes *packed = in.packed ? in.packed + row / LANES * in.k : 0;
            float value[LANES * COLUMNS] = {0}, gate[LANES * COLUMNS] = {0};
            block(x, packed, height, w + column * in.k, columns, in.k, value);
            block(x, packed, height, w + (inner + column) * in.k, columns, in.k, gate);
#pragma omp simd
            for (int64_t i = 0; i < LANES * COLUMNS; i++) /* all of them: the end of a loop may be computed otherwise */
                value[i] *= 0.5f * gate[i] * (1.0f + erff(gate[i] * 0.70710678f));
            for (int64_t m = 0; m < height; m++)
                for (int64_t c = 0; c < columns; c++) y[(row + m) * inner + column + c] = value[m * COLUMNS + c];
        }
    }
}

static void normalise(const float *x, int64_t rows, int64_t width, const float *weight, const float *bias, float *y)
{
#pragma omp for schedule(static)
    for (int64_t row = 0; row < rows; row++) {
        const float *in = x + row * width;
        double mean = 0, variance = 0;
        for (int64_t i = 0; i < width; i++) mean += in[i];
        mean /= width;
        for (int64_t i = 0; i < width; i++) variance += (in[i] - mean) * (in[i] - mean);
        float scale = (float)(1.0 / sqrt(variance / width + 1e-5));
        for (int64_t i = 0; i < width; i++)
            y[row * width + i] = (float)(in[i] - mean) * scale * weight[i] + bias[i];
    }
}

/* Keys and values: float32, or bfloat16, which is the upper half of one. `half` is a constant where these are inlined. */
INLINE lanes load_state(const void *states, int64_t i, const int half)
{
    if (!half) return load((const float *)states + i);
    return (lanes)(__builtin_convertvector(*(const halves *)((const uint16_t *)states + i), words) << 16);
}

INLINE float get_state(const void *states, int64_t i, const int half)
{
    if (!half) return ((const float *)states)[i];
    union { uint32_t word; float value; } bits = {(uint32_t)((const uint16_t *)states)[i] << 16};
    return bits.value;
}

INLINE void set_state(void *states, int64_t i, float value, const int half)
{
    if (!half) { ((float *)states)[i] = value; return; }
    union { float value; uint32_t word; } bits = {value};
    ((uint16_t *)states)[i] = (uint16_t)((bits.word + 0x7fff + (bits.word >> 16 & 1)) >> 16); /* to nearest, ties to even */
}

/* The dot product of a query with the key that begins at `first`. */
INLINE float match(const float *query, const void *keys, int64_t first, int64_t w, const int half)
{
    lanes acc[2] = {{0}, {0}};
    int64_t i = 0;
    for (; i + 2 * LANES <= w; i += 2 * LANES)
        for (int s = 0; s < 2; s++) acc[s] += load(query + i + s * LANES) * load_state(keys, first + i + s * LANES, half);
    float tail = 0;
    for (; i < w; i++) tail += query[i] * get_state(keys, first + i, half);
    return sum(acc[0] + acc[1]) + tail;
}

/* y += the sum of n values by their shares, 4 * LANES columns of them from `first` on; the sums stay in registers. */
INLINE void weigh(const void *values, int64_t first, int64_t stride, const float *shares, int64_t n, float *y, const int half)
{
    lanes acc[4] = {load(y), load(y + LANES), load(y + 2 * LANES), load(y + 3 * LANES)};
    for (int64_t j = 0; j < n; j++)
        for (int v = 0; v < 4; v++) acc[v] += shares[j] * load_state(values, first + j * stride + v * LANES, half);
    for (int v = 0; v < 4; v++) *(lanes *)(y + v * LANES) = acc[v];
}

/* Attention of one head of one row at a position: rotates q and k, keeps k and v, reads what may be seen.
   `row` numbers the row in the cache. */
INLINE void attend(const network_t *net, void *cache, const float *qkv, int64_t row, int64_t head, int64_t position,
                   float *y, const int half)
{
    int64_t w = net->head_width, middle = w / 2, ring = net->window + 1, all = net->heads * w;
    int64_t keys = (2 * row * net->heads + head) * net->slots * w, values = keys + net->heads * net->slots * w;
    const float *q = qkv + head * w, *k = q + all, *v = k + all;
    int64_t slot = position % ring;
    float query[w], logits[net->slots];
    float scale = 1.0f / sqrtf((float)w);
    for (int64_t i = 0; i < middle; i++) {
        float angle = (float)position * net->speeds[i], c = cosf(angle), s = sinf(angle);
        query[i] = (q[i] * c - q[i + middle] * s) * scale;
        query[i + middle] = (q[i + middle] * c + q[i] * s) * scale;
        set_state(cache, keys + slot * w + i, k[i] * c - k[i + middle] * s, half);
        set_state(cache, keys + slot * w + i + middle, k[i + middle] * c + k[i] * s, half);
    }
    for (int64_t i = 0; i < w; i++) set_state(cache, values + slot * w + i, v[i], half);

    int64_t seen = position < ring ? position + 1 : ring;
    float highest = -3.0e38f;
    for (int64_t j = 0; j < seen; j++) {
        logits[j] = match(query, cache, keys + j * w, w, half);
        if (logits[j] > highest) highest = logits[j];
    }
    int64_t extra = net->phantom && position < net->window;
    if (extra) { /* kept in the last slot; `window` keys alike count as one with ln(window) added */
        logits[seen] = match(query, cache, keys + ring * w, w, half) + logf((float)net->window);
        if (logits[seen] > highest) highest = logits[seen];
    }
    float total = 0;
#pragma omp simd reduction(+ : total)
    for (int64_t j = 0; j < seen + extra; j++) {
        logits[j] = expf(logits[j] - highest);
        total += logits[j];
    }
    for (int64_t i = 0; i < w; i++) y[i] = extra ? logits[seen] * get_state(cache, values + ring * w + i, half) : 0;
    int64_t i = 0;
    for (; i + 4 * LANES <= w; i += 4 * LANES) weigh(cache, values + i, w, logits, seen, y + i, half);
    for (int64_t j = 0; i < w && j < seen; j++)
        for (int64_t rest = i; rest < w; rest++) y[rest] += logits[j] * get_state(cache, values + j * w + rest, half);
    for (int64_t n = 0; n < w; n++) y[n] /= total;
}

/* x (rows, width) goes in as the embedded ids and is overwritten; logits (rows, vocabulary) come out.
   positions (rows,) are where the rows stand. scratch has room for rows * (4 * heads * head_width + width + inner)
   floats, and behind them packed for one operand of all rows, rounded up to LANES. */
void kapelle_step(const network_t *net, int64_t rows, const int64_t *positions, float *x, float *logits,
                  float *scratch, int threads)
{
    int64_t width = net->width, all = net->heads * net->head_width;
    float *h = scratch, *qkv = h + rows * width, *attended = qkv + rows * 3 * all, *inner = attended + rows * all;
    lanes *room = (lanes *)(inner + rows * net->inner);
#pragma omp parallel num_threads(threads)
    {
        for (int64_t l = 0; l < net->depth; l++) {
            const layer_t *layer = net->layers + l;
            normalise(x, rows, width, layer->attention_norm, layer->attention_bias, h);
            multiply(operand(h, rows, width, room), layer->qkv, 3 * all, qkv, 0);
#pragma omp for schedule(static)
            for (int64_t i = 0; i < rows * net->heads; i++) {
                int64_t row = i / net->heads, head = i % net->heads;
                const float *from = qkv + row * 3 * all;
                float *to = attended + row * all + head * net->head_width;
                if (net->half) attend(net, layer->cache, from, row, head, positions[row], to, 1);
                else attend(net, layer->cache, from, row, head, positions[row], to, 0);
            }
            multiply(operand(attended, rows, all, room), layer->out, width, x, 1);
            normalise(x, rows, width, layer->feed_norm, layer->feed_bias, h);
            gated(operand(h, rows, width, room), layer->up, net->inner, inner);
            multiply(operand(inner, rows, net->inner, room), layer->down, width, x, 1);
        }
        normalise(x, rows, width, net->norm, net->bias, h);
        multiply(operand(h, rows, width, room), net->head, net->vocabulary, logits, 0);
    }
}
