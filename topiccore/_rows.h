/* Sums of weight rows, in the two encodings of rows.  The additions of one label are made in the
 * order of the features and are never contracted to fused multiply-adds, so every build, vectorised
 * or not, gives the same bits.  topiccore.reference says the same in plain Python. */
#ifndef TOPICCORE_ROWS_H
#define TOPICCORE_ROWS_H

#include <stdint.h>
#include <string.h>

/* Clones for AVX2, chosen when the module is loaded, where compiler and C library can do that. */
#ifdef __has_attribute
#if __has_attribute(target_clones) && defined(__x86_64__) && defined(__GLIBC__) && \
    !defined(TOPICCORE_DEBUG) && !defined(TOPICCORE_NO_DISPATCH)
#define TOPICCORE_DISPATCH __attribute__((target_clones("default", "avx2")))
#endif
#endif
#ifndef TOPICCORE_DISPATCH
#define TOPICCORE_DISPATCH
#endif

/* Head of a record of encoding sparse8. */
enum { RECORD_SCALED = 1, RECORD_DENSE = 2, RECORD_SHIFT = 2 };

static inline void add_row(const float *row, float *sums, int labels) {
    for (int l = 0; l < labels; l++) sums[l] += row[l];
}

/* logits[l] = bias[l] + (plain[0][l] + ...) + scale * (scaled[0][l] + ...), in blocks of labels
 * whose sums stay in the nearest cache. */
TOPICCORE_DISPATCH
void topiccore_sum_float32(const float *const *plain, int plain_count, const float *const *scaled,
                           int scaled_count, float scale, const float *bias, float *logits,
                           int labels) {
    enum { BLOCK = 512 };
    float sums[2][BLOCK];
    for (int first = 0; first < labels; first += BLOCK) {
        int count = labels - first < BLOCK ? labels - first : BLOCK;
        for (int l = 0; l < count; l++) sums[0][l] = sums[1][l] = 0.0f;
        for (int r = 0; r < plain_count; r++) add_row(plain[r] + first, sums[0], count);
        for (int r = 0; r < scaled_count; r++) add_row(scaled[r] + first, sums[1], count);
        for (int l = 0; l < count; l++) {
            float scaled_sum = scale * sums[1][l];
            float plain_sum = bias[first + l] + sums[0][l];
            logits[first + l] = plain_sum + scaled_sum;
        }
    }
}

static inline float bfloat16(uint16_t bits) {
    uint32_t wide = (uint32_t)bits << 16;
    float value;
    memcpy(&value, &wide, sizeof value);
    return value;
}

static inline void add_dense(const uint16_t *cells, float step, float *sums, int labels) {
    const int8_t *values = (const int8_t *)cells;
    for (int l = 0; l < labels; l++) sums[l] += step * (float)values[l];
}

/* Any cells at all are safe: the mask keeps every label inside the sums. */
static inline void add_sparse(const uint16_t *cells, uint32_t count, float step, float *sums,
                              uint32_t mask) {
    uint32_t label = 0;
    for (uint32_t i = 0; i < count; i++) {
        label += cells[i] & 0xFF;
        sums[label & mask] += step * (float)(int8_t)(cells[i] >> 8);
    }
}

/* The same logits from rows of encoding sparse8: span i is cells[spans[2 * i]] up to
 * cells[spans[2 * i + 1]].  ``sums`` has room for 2 * (mask + 1) floats; mask + 1 is a power of two
 * and at least labels. */
TOPICCORE_DISPATCH
void topiccore_sum_sparse8(const uint16_t *cells, const uint32_t *spans, int span_count,
                           float scale, const float *bias, float *sums, uint32_t mask,
                           float *logits, int labels) {
    float *plain = sums, *scaled = sums + mask + 1;
    memset(plain, 0, labels * sizeof(float));
    memset(scaled, 0, labels * sizeof(float));
    for (int i = 0; i < span_count; i++) {
        const uint16_t *at = cells + spans[2 * i], *end = cells + spans[2 * i + 1];
        while (end - at >= 2) {
            uint32_t head = at[0], count = head >> RECORD_SHIFT;
            float step = bfloat16(at[1]);
            float *target = head & RECORD_SCALED ? scaled : plain;
            at += 2;
            if ((uint32_t)(end - at) < count) break;
            if (!(head & RECORD_DENSE))
                add_sparse(at, count, step, target, mask);
            else if (count == ((uint32_t)labels + 1) / 2)
                add_dense(at, step, target, labels);
            at += count;
        }
    }
    for (int l = 0; l < labels; l++) {
        float scaled_sum = scale * scaled[l];
        float plain_sum = bias[l] + plain[l];
        logits[l] = plain_sum + scaled_sum;
    }
}

/* Writes the labels whose logit reaches their threshold, ascending; how many there are.  Few do, so
 * whole blocks are compared first. */
TOPICCORE_DISPATCH
int topiccore_find_reached(const float *logits, const float *thresholds, int labels,
                           int32_t *reached) {
    enum { BLOCK = 64 };
    int found = 0;
    for (int first = 0; first < labels; first += BLOCK) {
        int last = labels - first < BLOCK ? labels : first + BLOCK, any = 0;
        for (int l = first; l < last; l++) any |= logits[l] >= thresholds[l];
        if (!any) continue;
        for (int l = first; l < last; l++)
            if (logits[l] >= thresholds[l]) reached[found++] = l;
    }
    return found;
}

#endif
