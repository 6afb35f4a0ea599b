/* Prints a digest of the bits that topiccore/_rows.h computes from seeded rows and cells; every
 * build on every machine must print the same.  See tools/check_arm.py. */
#include <stdio.h>
#include <stdlib.h>

#include "_rows.h"

static uint64_t state = 7;

static uint32_t next(void) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(state >> 33);
}

static float small(void) { return ((int32_t)(next() % 20001) - 10000) / 3000.0f; }

static uint64_t digest = 0xCBF29CE484222325u;

static void add(const float *values, int count) {
    const unsigned char *bytes = (const unsigned char *)values;
    for (size_t i = 0; i < count * sizeof *values; i++)
        digest = (digest ^ bytes[i]) * 0x100000001B3u;
}

static void check(int labels) {
    enum { ROWS = 9, SPANS = 12 };
    uint32_t mask = 1;
    while (mask < (uint32_t)labels) mask *= 2;
    mask -= 1;
    float *rows = malloc(ROWS * labels * sizeof *rows);
    float *bias = malloc(labels * sizeof *bias);
    float *logits = malloc(labels * sizeof *logits);
    float *sums = malloc(2 * (mask + 1) * sizeof *sums);
    int32_t *reached = malloc(labels * sizeof *reached);
    const float *plain[ROWS], *scaled[ROWS];
    for (int i = 0; i < ROWS * labels; i++) rows[i] = small();
    for (int l = 0; l < labels; l++) bias[l] = small();
    for (int r = 0; r < ROWS; r++) plain[r] = scaled[ROWS - 1 - r] = rows + r * labels;
    topiccore_sum_float32(plain, ROWS, scaled, ROWS - 2, 0.57735027f, bias, logits, labels);
    add(logits, labels);

    uint16_t *cells = malloc((size_t)SPANS * (labels + 4) * sizeof *cells);
    uint32_t spans[2 * SPANS], at = 0;
    for (int s = 0; s < SPANS; s++) {
        int dense = s % 3 == 0;
        uint32_t count = dense ? (labels + 1) / 2 : 1 + next() % labels;
        spans[2 * s] = at;
        cells[at++] = (uint16_t)(count << RECORD_SHIFT | (dense ? RECORD_DENSE : 0) | s % 2);
        cells[at++] = (uint16_t)(0x3C00 + next() % 256);
        for (uint32_t i = 0; i < count; i++) cells[at++] = (uint16_t)next();
        spans[2 * s + 1] = at;
    }
    topiccore_sum_sparse8(cells, spans, SPANS, 0.57735027f, bias, sums, mask, logits, labels);
    add(logits, labels);
    int found = topiccore_find_reached(logits, bias, labels, reached);
    printf("%d labels: %d reached\n", labels, found);
    free(rows); free(bias); free(logits); free(sums); free(reached); free(cells);
}

int main(void) {
    int sizes[] = {1, 7, 24, 63, 64, 65, 356, 511, 513, 2000};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) check(sizes[i]);
    printf("%016llx\n", (unsigned long long)digest);
    return 0;
}
