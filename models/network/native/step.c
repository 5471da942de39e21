/* One decoding step of a LocalTransformer on a CPU, all layers in one call.

   Weights are the network's own tensors, float32, row-major, (out, in). */

#include "kernels.h"

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

static void multiply(const float *x, int64_t rows, int64_t k, const float *w, int64_t n, float *y, int how)
{
    multiply_as(x, rows, k, (matrix_t){w, 0}, n, y, how, FLOAT);
}

/* y = value * GELU(gate), where value and gate are the halves of x w^T; y (rows, inner), w (2 inner, k). */
static void gated(const float *x, int64_t rows, int64_t k, const float *w, int64_t inner, float *y)
{
#pragma omp for schedule(static)
    for (int64_t column = 0; column < inner; column += COLUMNS) {
        int64_t start = block_start(column, inner);
        for (int64_t row = 0; row < rows; row += TALL) {
            int64_t height = rows - row < TALL ? rows - row : TALL;
            float value[TALL * COLUMNS] = {0}, gate[TALL * COLUMNS] = {0};
            block(x + row * k, height, k, w, start, value, FLOAT);
            block(x + row * k, height, k, w, inner + start, gate, FLOAT);
#pragma omp simd
            for (int64_t i = 0; i < TALL * COLUMNS; i++) value[i] *= gelu(gate[i]);
            for (int64_t m = 0; m < height; m++)
                for (int64_t c = column - start; c < COLUMNS; c++)
                    y[(row + m) * inner + start + c] = value[m * COLUMNS + c];
        }
    }
}

/* Attention of one head of one row at a position: rotates q and k, keeps k and v, reads what may be seen.
   `row` numbers the row in the cache. */
INLINE void attend(const network_t *net, void *cache, const float *qkv, int64_t row, int64_t head, int64_t position,
                   float *y, const int kind)
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
        set_as(cache, keys + slot * w + i, k[i] * c - k[i + middle] * s, kind);
        set_as(cache, keys + slot * w + i + middle, k[i + middle] * c + k[i] * s, kind);
    }
    for (int64_t i = 0; i < w; i++) set_as(cache, values + slot * w + i, v[i], kind);

    int64_t seen = position < ring ? position + 1 : ring;
    float highest = matches(query, cache, keys, w, seen, logits, kind);
    int64_t extra = net->phantom && position < net->window;
    if (extra) { /* kept in the last slot; `window` keys alike count as one with ln(window) added */
        logits[seen] = match(query, cache, keys + ring * w, w, kind) + logf((float)net->window);
        if (logits[seen] > highest) highest = logits[seen];
    }
    float total = shares(logits, seen + extra, highest);
    for (int64_t i = 0; i < w; i++) y[i] = extra ? logits[seen] * get_as(cache, values + ring * w + i, kind) : 0;
    mix(cache, values, w, logits, seen, y, kind);
    for (int64_t n = 0; n < w; n++) y[n] /= total;
}

/* x (rows, width) goes in as the embedded ids and is overwritten; logits (rows, vocabulary) come out.
   positions (rows,) are where the rows stand. scratch has room for rows * (4 * heads * head_width + width + inner)
   floats. */
void kapelle_step(const network_t *net, int64_t rows, const int64_t *positions, float *x, float *logits,
                  float *scratch, int threads)
{
    int64_t width = net->width, all = net->heads * net->head_width;
    float *h = scratch, *qkv = h + rows * width, *attended = qkv + rows * 3 * all, *inner = attended + rows * all;
#pragma omp parallel num_threads(threads)
    {
        for (int64_t l = 0; l < net->depth; l++) {
            const layer_t *layer = net->layers + l;
            normalise(x, 0, rows, width, layer->attention_norm, layer->attention_bias, h);
            multiply(h, rows, width, layer->qkv, 3 * all, qkv, SET);
#pragma omp for schedule(static)
            for (int64_t i = 0; i < rows * net->heads; i++) {
                int64_t row = i / net->heads, head = i % net->heads;
                const float *from = qkv + row * 3 * all;
                float *to = attended + row * all + head * net->head_width;
                if (net->half) attend(net, layer->cache, from, row, head, positions[row], to, HALF);
                else attend(net, layer->cache, from, row, head, positions[row], to, FLOAT);
            }
            multiply(attended, rows, all, layer->out, width, x, ADD);
            normalise(x, 0, rows, width, layer->feed_norm, layer->feed_bias, h);
            gated(h, rows, width, layer->up, net->inner, inner);
            multiply(inner, rows, net->inner, layer->down, width, x, ADD);
        }
        normalise(x, 0, rows, width, net->norm, net->bias, h);
        multiply(h, rows, width, net->head, net->vocabulary, logits, SET);
    }
}
