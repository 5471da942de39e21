/* What the compiled decoding steps are made of: products with weights, LayerNorm, attention to a cache.

   Decoding reads every weight once a step, so its speed is that of the memory, if nothing else is
   in the way. A step through a framework is, for a small network, mostly the framework; here it is
   one parallel region, whose threads share the loops of these functions.

   Vectors are GCC/Clang vector extensions, so that any CPU's widest registers are used.

   What a row comes to does not depend on what else is in the batch, nor on the number of threads: every sum is added
   up in one order, number i into lane i % LANES, then the upper half of the lanes onto the lower one. */

#ifndef KAPELLE_KERNELS_H
#define KAPELLE_KERNELS_H

#include <math.h>
#include <stdint.h>
#ifdef __AVX2__
#include <immintrin.h>
#endif
#ifdef __aarch64__
#include <arm_neon.h>
#endif

#define LANES 16
#define COLUMNS 8 /* of a block: as many of its numbers are written at once */
#ifdef __AVX512F__
#define TALL 8 /* rows that are multiplied at once; registers for their sums are there */
#else
#define TALL 4
#endif

typedef float lanes __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef float eight __attribute__((vector_size(32)));
typedef float four __attribute__((vector_size(16), aligned(4), may_alias));
typedef float two __attribute__((vector_size(8), aligned(4), may_alias));
typedef int32_t places __attribute__((vector_size(16)));
typedef uint32_t words __attribute__((vector_size(4 * LANES)));
typedef int32_t ints __attribute__((vector_size(4 * LANES)));
typedef uint16_t halves __attribute__((vector_size(2 * LANES), aligned(2), may_alias));
typedef int16_t shorts __attribute__((vector_size(2 * LANES)));
typedef int8_t bytes __attribute__((vector_size(LANES), aligned(1), may_alias));
typedef union { lanes whole; eight half[2]; float part[LANES]; } parts;
typedef union { eight whole; four half[2]; } half_parts;
typedef union { four whole; two half[2]; float part[4]; } four_parts;
#define INLINE static inline __attribute__((always_inline))

/* How numbers lie in memory: float32, bfloat16 (the upper half of one), int8. Always a constant where this is inlined. */
enum { FLOAT, HALF, BYTE };

INLINE int64_t size_of(const int kind) { return kind == FLOAT ? 4 : kind == HALF ? 2 : 1; }

INLINE lanes load(const float *p) { return *(const lanes *)p; }

INLINE lanes load_as(const void *p, int64_t i, const int kind)
{
    if (kind == FLOAT) return load((const float *)p + i);
    if (kind == HALF) return (lanes)(__builtin_convertvector(*(const halves *)((const uint16_t *)p + i), words) << 16);
    const int8_t *from = (const int8_t *)p + i;
#if defined(__AVX512F__) /* compilers do not find these by themselves */
    return (lanes)_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)from)));
#elif defined(__AVX2__)
    parts found;
    for (int s = 0; s < 2; s++)
        found.half[s] = (eight)_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(from + 8 * s))));
    return found.whole;
#else
    return __builtin_convertvector(
        __builtin_convertvector(__builtin_convertvector(*(const bytes *)from, shorts), ints), lanes);
#endif
}

/* a b + c, rounded once where the CPU can: written out, for a compiler that may choose which product it adds to rounds
   differently from place to place. */
INLINE lanes fused(lanes a, lanes b, lanes c)
{
#if defined(__AVX512F__)
    return (lanes)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(__AVX2__) && defined(__FMA__)
    parts x = {a}, y = {b}, z = {c};
    for (int s = 0; s < 2; s++) z.half[s] = (eight)_mm256_fmadd_ps((__m256)x.half[s], (__m256)y.half[s], (__m256)z.half[s]);
    return z.whole;
#elif defined(__aarch64__)
    parts x = {a}, y = {b}, z = {c};
    for (int s = 0; s < LANES; s += 4)
        vst1q_f32(z.part + s, vfmaq_f32(vld1q_f32(z.part + s), vld1q_f32(x.part + s), vld1q_f32(y.part + s)));
    return z.whole;
#else
    return a * b + c;
#endif
}

INLINE float get_as(const void *p, int64_t i, const int kind)
{
    if (kind == FLOAT) return ((const float *)p)[i];
    if (kind == BYTE) return ((const int8_t *)p)[i];
    union { uint32_t word; float value; } bits = {(uint32_t)((const uint16_t *)p)[i] << 16};
    return bits.value;
}

INLINE void set_as(void *p, int64_t i, float value, const int kind)
{
    if (kind == FLOAT) { ((float *)p)[i] = value; return; }
    union { float value; uint32_t word; } bits = {value};
    ((uint16_t *)p)[i] = (uint16_t)((bits.word + 0x7fff + (bits.word >> 16 & 1)) >> 16); /* to nearest, ties to even */
}

/* The last numbers of a row that does not end with the lanes, zeros behind them. */
INLINE lanes load_end(const void *p, int64_t i, int64_t count, const int kind)
{
#ifdef __AVX512F__
    if (kind == FLOAT) return (lanes)_mm512_maskz_loadu_ps((__mmask16)((1 << count) - 1), (const float *)p + i);
#endif
    parts found = {{0}};
    for (int64_t j = 0; j < count; j++) found.part[j] = get_as(p, i + j, kind);
    return found.whole;
}

#if defined(__clang__) || __GNUC__ >= 12
#define PICK(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define PICK(a, b, ...) __builtin_shuffle(a, b, (places){__VA_ARGS__})
#endif

INLINE four quarter(lanes v)
{
    parts p = {v};
    half_parts h = {p.half[0] + p.half[1]};
    return h.half[0] + h.half[1];
}

/* The sums of four; of one alone it is the same additions. */
INLINE four sums(lanes a, lanes b, lanes c, lanes d)
{
    four p = quarter(a), q = quarter(b), r = quarter(c), s = quarter(d);
    four pq = PICK(p, q, 0, 4, 1, 5) + PICK(p, q, 2, 6, 3, 7); /* p0 + p2, q0 + q2, p1 + p3, q1 + q3 */
    four rs = PICK(r, s, 0, 4, 1, 5) + PICK(r, s, 2, 6, 3, 7);
    return PICK(pq, rs, 0, 1, 4, 5) + PICK(pq, rs, 2, 3, 6, 7);
}

INLINE float sum(lanes v)
{
    lanes none = {0};
    return sums(v, none, none, none)[0];
}

/* Products with weights */

typedef struct {
    const void *numbers; /* (out, in) */
    const float *scales; /* of each row of int8; unused else */
} matrix_t;

/* Bytes that weights which are read one after the other are fetched in advance. */
#define AHEAD 6144

/* Numbers of a row that are taken at once: M rows of them should stay in the nearest cache. */
#define CHUNK(M) ((M) <= 2 ? INT64_MAX / 2 : 1024)

/* Columns that M rows are multiplied with at once; what is fastest was measured. float32 is read best row after row,
   what has to be unpacked or serves many rows keeps a CPU busier. */
INLINE int wide(const int M, const int kind)
{
    if (TALL == 4) return 1;
    return M > 4 ? 2 : kind == FLOAT ? (M == 3 ? 4 : 1) : kind == HALF ? 2 : 4;
}

/* M rows of x, k long, with C rows of w, n numbers of them; `kept` (M, C) holds the lanes if that is not all of them.
   What lies at `next` is fetched meanwhile: a CPU does not foresee it behind so much work. y[m * COLUMNS + c] */
INLINE void tile(const float *x, int64_t k, const char *w, const char *next, int64_t n, lanes *kept, int begins, int ends,
                 float *y, const int M, const int C, const int kind)
{
    const int64_t size = size_of(kind);
    lanes acc[16];
#pragma GCC unroll 16
    for (int j = 0; j < M * C; j++) acc[j] = begins ? (lanes){0} : kept[j];
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        lanes b[4];
#pragma GCC unroll 4
        for (int c = 0; c < C; c++) {
            b[c] = load_as(w + c * k * size, i, kind);
            if ((M > 1 || kind != FLOAT) && i * size % 64 == 0) __builtin_prefetch(next + (c * k + i) * size);
        }
#pragma GCC unroll 8
        for (int m = 0; m < M; m++) {
            lanes a = load(x + m * k + i);
#pragma GCC unroll 4
            for (int c = 0; c < C; c++) acc[m * C + c] = fused(a, b[c], acc[m * C + c]);
        }
    }
    if (i < n) {
        lanes b[4];
        for (int c = 0; c < C; c++) b[c] = load_end(w + c * k * size, i, n - i, kind);
        for (int m = 0; m < M; m++) {
            lanes a = load_end(x + m * k, i, n - i, FLOAT);
            for (int c = 0; c < C; c++) acc[m * C + c] = fused(a, b[c], acc[m * C + c]);
        }
    }
    if (!ends) {
#pragma GCC unroll 16
        for (int j = 0; j < M * C; j++) kept[j] = acc[j];
        return;
    }
#pragma GCC unroll 16
    for (int j = 0; j < M * C; j += 4) {
        lanes none = {0};
        four_parts found = {sums(acc[j], j + 1 < M * C ? acc[j + 1] : none, j + 2 < M * C ? acc[j + 2] : none,
                                 j + 3 < M * C ? acc[j + 3] : none)};
        if (C == 4) *(four *)(y + j / C * COLUMNS) = found.whole;
        for (int s = 0; C == 2 && s < 2 && j + 2 * s < M * C; s++) *(two *)(y + (j / C + s) * COLUMNS) = found.half[s];
        for (int s = 0; C == 1 && s < 4 && j + s < M; s++) y[(j + s) * COLUMNS] = found.part[s];
    }
}

/* M rows with COLUMNS rows of w. */
INLINE void tiles(const float *x, int64_t k, const char *w, float *y, const int M, const int C, const int kind)
{
    const int64_t size = size_of(kind);
    lanes kept[COLUMNS * TALL];
    for (int64_t start = 0; start < k; start += CHUNK(M)) {
        int ends = k - start <= CHUNK(M);
        int64_t n = ends ? k - start : CHUNK(M);
        for (int c = 0; c < COLUMNS; c += C) {
            const char *here = w + (c * k + start) * size;
            const char *next = C == 1 && ends && !start ? here + AHEAD
                             : c + C < COLUMNS          ? here + C * k * size
                                                        : w + (ends ? COLUMNS * k : start + n) * size;
            tile(x + start, k, here, next, n, kept + c * M, !start, ends, y + c, M, C, kind);
        }
    }
}

/* The same, with as many columns at once as are fastest. */
INLINE void tiled(const float *x, int64_t k, const char *w, float *y, const int M, const int kind)
{
    if (TALL == 8 && kind == FLOAT && M > 2 && M <= 4 && k > CHUNK(M)) tiles(x, k, w, y, M, 2, kind);
    else tiles(x, k, w, y, M, wide(M, kind), kind);
}

INLINE void block_as(const float *x, int64_t height, int64_t k, const char *from, float *y, const int kind)
{
    if (TALL == 8 && height == 8) {
        tiled(x, k, from, y, 8, kind);
        return;
    }
    for (; height > 0; height -= 4, x += 4 * k, y += 4 * COLUMNS)
        switch (height) {
        case 1: tiled(x, k, from, y, 1, kind); break;
        case 2: tiled(x, k, from, y, 2, kind); break;
        case 3: tiled(x, k, from, y, 3, kind); break;
        default: tiled(x, k, from, y, 4, kind);
        }
}

/* Functions of their own, so that what is done with a block is the same code whatever its height. */
#define APART static __attribute__((noinline)) void
APART block_of_floats(const float *x, int64_t height, int64_t k, const char *w, float *y) { block_as(x, height, k, w, y, FLOAT); }
APART block_of_halves(const float *x, int64_t height, int64_t k, const char *w, float *y) { block_as(x, height, k, w, y, HALF); }
APART block_of_bytes(const float *x, int64_t height, int64_t k, const char *w, float *y) { block_as(x, height, k, w, y, BYTE); }

/* A block of x w^T: up to TALL rows by COLUMNS columns from `column` on, y (height, COLUMNS). */
INLINE void block(const float *x, int64_t height, int64_t k, const void *w, int64_t column, float *y, const int kind)
{
    const char *from = (const char *)w + column * k * size_of(kind);
    if (kind == FLOAT) block_of_floats(x, height, k, from, y);
    else if (kind == HALF) block_of_halves(x, height, k, from, y);
    else block_of_bytes(x, height, k, from, y);
}

INLINE float gelu(float x) { return 0.5f * x * (1.0f + erff(x * 0.70710678f)); }

/* What becomes of a product. */
enum { SET, ADD, GELU };

/* Where to begin so that a block ends with the n columns: some of its columns may have been made before. */
INLINE int64_t block_start(int64_t column, int64_t n) { return column + COLUMNS <= n ? column : n - COLUMNS; }

/* y = x w^T, y += x w^T or y = GELU(x w^T); x (rows, k), w (n, k), y (rows, n); n is COLUMNS at least. */
INLINE void multiply_as(const float *x, int64_t rows, int64_t k, matrix_t w, int64_t n, float *y, int how, const int kind)
{
#pragma omp for schedule(static)
    for (int64_t column = 0; column < n; column += COLUMNS) {
        int64_t start = block_start(column, n);
        for (int64_t row = 0; row < rows; row += TALL) {
            int64_t height = rows - row < TALL ? rows - row : TALL;
            float found[TALL * COLUMNS] = {0};
            block(x + row * k, height, k, w.numbers, start, found, kind);
            if (kind == BYTE)
                for (int64_t i = 0; i < TALL * COLUMNS; i++) found[i] *= w.scales[start + i % COLUMNS];
            if (how == GELU) {
#pragma omp simd
                for (int64_t i = 0; i < TALL * COLUMNS; i++) found[i] = gelu(found[i]);
            }
            for (int64_t m = 0; m < height; m++)
                for (int64_t c = column - start; c < COLUMNS; c++) {
                    float *target = y + (row + m) * n + start + c;
                    *target = how == ADD ? *target + found[m * COLUMNS + c] : found[m * COLUMNS + c];
                }
        }
    }
}

/* LayerNorm of one row. */
static void normalise_row(const float *x, int64_t width, const float *weight, const float *bias, float *y)
{
    double mean = 0, variance = 0;
#pragma omp simd reduction(+ : mean)
    for (int64_t i = 0; i < width; i++) mean += x[i];
    mean /= width;
#pragma omp simd reduction(+ : variance)
    for (int64_t i = 0; i < width; i++) variance += (x[i] - mean) * (x[i] - mean);
    float scale = (float)(1.0 / sqrt(variance / width + 1e-5));
    for (int64_t i = 0; i < width; i++) y[i] = (float)(x[i] - mean) * scale * weight[i] + bias[i];
}

/* LayerNorm of rows, (rows, width); those numbered `which` where it is given, which come out one after the other. */
static void normalise(const float *x, const int64_t *which, int64_t rows, int64_t width, const float *weight,
                      const float *bias, float *y)
{
#pragma omp for schedule(static)
    for (int64_t row = 0; row < rows; row++)
        normalise_row(x + (which ? which[row] : row) * width, width, weight, bias, y + row * width);
}

/* Attention: what a query of w numbers finds in keys and values, which lie one after the other from `first` on */

/* The lanes of the product of a query with a key; what is beyond the lanes goes to `rest`. */
INLINE lanes matched(const float *query, const void *keys, int64_t first, int64_t w, float *rest, const int kind)
{
    lanes acc[2] = {{0}, {0}};
    int64_t i = 0;
    for (; i + 2 * LANES <= w; i += 2 * LANES)
        for (int s = 0; s < 2; s++) acc[s] += load(query + i + s * LANES) * load_as(keys, first + i + s * LANES, kind);
    *rest = 0;
    for (; i < w; i++) *rest += query[i] * get_as(keys, first + i, kind);
    return acc[0] + acc[1];
}

INLINE float match(const float *query, const void *keys, int64_t first, int64_t w, const int kind)
{
    float rest;
    lanes found = matched(query, keys, first, w, &rest, kind);
    return sum(found) + rest;
}

/* The products with n keys; returns the highest. */
INLINE float matches_of(const float *query, const void *keys, int64_t first, int64_t w, int64_t n, float *logits, const int kind)
{
    float highest = -3.0e38f;
    int64_t j = 0;
    for (; j + 4 <= n; j += 4) {
        lanes found[4];
        float rest[4];
        for (int s = 0; s < 4; s++) found[s] = matched(query, keys, first + (j + s) * w, w, rest + s, kind);
        four four_sums = sums(found[0], found[1], found[2], found[3]);
        for (int s = 0; s < 4; s++) logits[j + s] = four_sums[s] + rest[s];
    }
    for (; j < n; j++) logits[j] = match(query, keys, first + j * w, w, kind);
    for (j = 0; j < n; j++)
        if (logits[j] > highest) highest = logits[j];
    return highest;
}

INLINE float matches(const float *query, const void *keys, int64_t first, int64_t w, int64_t n, float *logits, const int kind)
{
    return w == 64 ? matches_of(query, keys, first, 64, n, logits, kind) : matches_of(query, keys, first, w, n, logits, kind);
}

/* Logits become what each counts; returns the sum. */
INLINE float shares(float *logits, int64_t n, float highest)
{
    float total = 0;
#pragma omp simd reduction(+ : total)
    for (int64_t j = 0; j < n; j++) {
        logits[j] = expf(logits[j] - highest);
        total += logits[j];
    }
    return total;
}

/* y += the sum of n values by their shares, 4 * LANES columns of them; the sums stay in registers. */
INLINE void weigh(const void *values, int64_t first, int64_t w, const float *shares, int64_t n, float *y, const int kind)
{
    lanes acc[4] = {load(y), load(y + LANES), load(y + 2 * LANES), load(y + 3 * LANES)};
    for (int64_t j = 0; j < n; j++)
        for (int v = 0; v < 4; v++) acc[v] += shares[j] * load_as(values, first + j * w + v * LANES, kind);
    for (int v = 0; v < 4; v++) *(lanes *)(y + v * LANES) = acc[v];
}

/* y += the sum of n values by their shares. */
INLINE void mix(const void *values, int64_t first, int64_t w, const float *shares, int64_t n, float *y, const int kind)
{
    int64_t i = 0;
    for (; i + 4 * LANES <= w; i += 4 * LANES) weigh(values, first + i, w, shares, n, y + i, kind);
    for (int64_t j = 0; i < w && j < n; j++)
        for (int64_t rest = i; rest < w; rest++) y[rest] += shares[j] * get_as(values, first + j * w + rest, kind);
}

#endif
