/* One decoding step of a MusicgenNetwork on a CPU, all layers in one call.

   Weights are the network's own tensors, row-major, (out, in): float32, bfloat16, or int8 with a scale for each row. */

#include "kernels.h"

typedef struct {
    const float *attention_norm, *attention_bias;
    matrix_t qkv, out;
    const float *text_norm, *text_bias; /* this and the next: of a network that attends to text */
    matrix_t text_q, text_out;
    const float *feed_norm, *feed_bias;
    matrix_t up, down;
    void *cache; /* (rows, 2, heads, slots, head_width), position p in slot p */
    void *text;  /* (rows, 2, heads, text_slots, head_width) */
} layer_t;

typedef struct {
    int64_t width, depth, heads, head_width, inner, codebooks, vocabulary;
    int64_t slots, text_slots; /* text_slots is 0 where there is no attention to text */
    int64_t kind, states;      /* how weights lie in memory, and how keys and values do */
    const void *embedding;     /* (codebooks * (vocabulary + 1), width), bfloat16 if the weights are, else float32 */
    const float *places;       /* of the positions, (slots, width) */
    const float *norm, *bias;
    matrix_t head; /* (codebooks * vocabulary, width) */
    const layer_t *layers;
} network_t;

static void multiply(const network_t *net, const float *x, int64_t rows, int64_t k, matrix_t w, int64_t n, float *y, int how)
{
    switch (net->kind) {
    case FLOAT: multiply_as(x, rows, k, w, n, y, how, FLOAT); break;
    case HALF: multiply_as(x, rows, k, w, n, y, how, HALF); break;
    default: multiply_as(x, rows, k, w, n, y, how, BYTE);
    }
}

/* The embeddings of a row's codes, and its position; y (width). */
static void embed(const network_t *net, const int64_t *codes, int64_t position, float *y)
{
    int64_t width = net->width;
    for (int64_t i = 0; i < width; i++) y[i] = net->places[position * width + i];
    for (int64_t codebook = 0; codebook < net->codebooks; codebook++) {
        int64_t first = (codebook * (net->vocabulary + 1) + codes[codebook]) * width;
        if (net->kind == HALF)
            for (int64_t i = 0; i < width; i++) y[i] += get_as(net->embedding, first + i, HALF);
        else
            for (int64_t i = 0; i < width; i++) y[i] += get_as(net->embedding, first + i, FLOAT);
    }
}

/* Attention of a query to what lies in `seen` slots of one head of one row; y (head_width). */
INLINE void look_as(const network_t *net, const float *q, const void *states, int64_t row, int64_t head, int64_t slots,
                    int64_t seen, float *y, const int kind)
{
    int64_t w = net->head_width, keys = (2 * row * net->heads + head) * slots * w, values = keys + net->heads * slots * w;
    float query[w], logits[seen], scale = 1.0f / sqrtf((float)w);
    for (int64_t i = 0; i < w; i++) query[i] = q[i] * scale;
    float highest = matches(query, states, keys, w, seen, logits, kind);
    float total = shares(logits, seen, highest);
    for (int64_t i = 0; i < w; i++) y[i] = 0;
    mix(states, values, w, logits, seen, y, kind);
    for (int64_t i = 0; i < w; i++) y[i] /= total;
}

static void look(const network_t *net, const float *q, const void *states, int64_t row, int64_t head, int64_t slots,
                 int64_t seen, float *y)
{
    if (net->states == HALF) look_as(net, q, states, row, head, slots, seen, y, HALF);
    else look_as(net, q, states, row, head, slots, seen, y, FLOAT);
}

/* Keep the key and the value of a position. */
static void keep(const network_t *net, void *cache, int64_t row, int64_t head, int64_t position, const float *k, const float *v)
{
    int64_t w = net->head_width, key = ((2 * row * net->heads + head) * net->slots + position) * w;
    int64_t value = key + net->heads * net->slots * w;
    for (int64_t i = 0; i < w; i++) {
        set_as(cache, key + i, k[i], (int)net->states);
        set_as(cache, value + i, v[i], (int)net->states);
    }
}

/* codes and lengths are those of the first rows, (rows, codebooks) and (rows,): a row stands at its length. A row whose
   text_lengths is 0 has no text, and attention to it adds nothing. logits (rows, codebooks * vocabulary) come out.
   scratch has room for rows * (6 * width + inner) floats. */
void kapelle_musicgen_step(const network_t *net, int64_t rows, const int64_t *codes, const int64_t *lengths,
                           const int64_t *text_lengths, float *logits, float *scratch, int threads)
{
    int64_t width = net->width, heads = net->heads, w = net->head_width;
    float *x = scratch, *h = x + rows * width, *qkv = h + rows * width, *found = qkv + 3 * rows * width;
    float *inner = found + rows * width;
    int64_t told[rows], count = 0; /* rows with text */
    for (int64_t row = 0; net->text_slots && row < rows; row++)
        if (text_lengths[row]) told[count++] = row;
#pragma omp parallel num_threads(threads)
    {
#pragma omp for schedule(static)
        for (int64_t row = 0; row < rows; row++) embed(net, codes + row * net->codebooks, lengths[row], x + row * width);
        for (int64_t l = 0; l < net->depth; l++) {
            const layer_t *layer = net->layers + l;
            normalise(x, 0, rows, width, layer->attention_norm, layer->attention_bias, h);
            multiply(net, h, rows, width, layer->qkv, 3 * width, qkv, SET);
#pragma omp for schedule(static, 1)
            for (int64_t i = 0; i < rows * heads; i++) {
                int64_t row = i / heads, head = i % heads, seen = lengths[row] + 1;
                const float *q = qkv + row * 3 * width + head * w;
                keep(net, layer->cache, row, head, lengths[row], q + width, q + 2 * width);
                look(net, q, layer->cache, row, head, net->slots, seen, found + row * width + head * w);
            }
            multiply(net, found, rows, width, layer->out, width, x, ADD);
            if (count) {
                normalise(x, told, count, width, layer->text_norm, layer->text_bias, h);
                multiply(net, h, count, width, layer->text_q, width, qkv, SET);
#pragma omp for schedule(static, 1)
                for (int64_t i = 0; i < count * heads; i++) {
                    int64_t row = told[i / heads];
                    look(net, qkv + i * w, layer->text, row, i % heads, net->text_slots, text_lengths[row], found + i * w);
                }
                multiply(net, found, count, width, layer->text_out, width, h, SET);
#pragma omp for schedule(static)
                for (int64_t i = 0; i < count; i++)
                    for (int64_t j = 0; j < width; j++) x[told[i] * width + j] += h[i * width + j];
            }
            normalise(x, 0, rows, width, layer->feed_norm, layer->feed_bias, h);
            multiply(net, h, rows, width, layer->up, net->inner, inner, GELU);
            multiply(net, inner, rows, net->inner, layer->down, width, x, ADD);
        }
        normalise(x, 0, rows, width, net->norm, net->bias, h);
        multiply(net, h, rows, width, net->head, net->codebooks * net->vocabulary, logits, SET);
    }
}
