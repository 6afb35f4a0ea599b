/* Sums of weight rows.  The additions of one label are made in the order of the rows and are never
 * contracted to fused multiply-adds, so every build, vectorised or not, gives the same bits. */
#ifndef TOPICCORE_ROWS_H
#define TOPICCORE_ROWS_H

#if defined(__x86_64__) && defined(__GNUC__) && defined(__linux__) && !defined(TOPICCORE_DEBUG)
#define TOPICCORE_DISPATCH __attribute__((target_clones("default", "avx2")))
#else
#define TOPICCORE_DISPATCH
#endif

static inline void add_row(const float *row, float *sums, int labels) {
    for (int l = 0; l < labels; l++) sums[l] += row[l];
}

/* logits[l] = bias[l] + (plain[0][l] + ...) + scale * (scaled[0][l] + ...), in blocks of labels
 * whose sums stay in the nearest cache. */
TOPICCORE_DISPATCH
static void sum_rows(const float *const *plain, int plain_count, const float *const *scaled,
                     int scaled_count, float scale, const float *bias, float *logits, int labels) {
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

#endif
