/* Three ways to read memory, timed by benchmarks/memory.py. */
#include <stdint.h>
#include <string.h>

enum { LINE = 64 };

/* Every read needs the one before it.  ``next`` holds byte offsets that make one cycle; returns
 * where to go on. */
uint64_t chase(const char *next, uint64_t place, uint64_t steps) {
    for (uint64_t i = 0; i < steps; i++) memcpy(&place, next + place, sizeof place);
    return place;
}

/* Lines in a given order, none needing another: as many reads at once as the core can have. */
uint64_t gather(const char *data, const uint32_t *lines, uint64_t count) {
    uint64_t sum = 0;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t value;
        memcpy(&value, data + (uint64_t)lines[i] * LINE, sizeof value);
        sum += value;
    }
    return sum;
}

/* All bytes, one after the other, ``rounds`` times. */
uint64_t stream(const char *data, uint64_t bytes, uint64_t rounds) {
    uint64_t sums[8] = {0};
    for (uint64_t round = 0; round < rounds; round++) {
        for (uint64_t i = 0; i + LINE <= bytes; i += LINE)
            for (int j = 0; j < 8; j++) {
                uint64_t value;
                memcpy(&value, data + i + 8 * j, sizeof value);
                sums[j] += value;
            }
        __asm__ volatile("" ::: "memory"); /* every round reads anew */
    }
    uint64_t sum = 0;
    for (int j = 0; j < 8; j++) sum += sums[j];
    return sum;
}
