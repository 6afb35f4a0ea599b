/* Memory a query is scored in, kept for the next query: no allocation per query after the first.
 * Threads take and give it back without a lock; more threads than places allocate their own. */
#ifndef TOPICCORE_SCRATCH_H
#define TOPICCORE_SCRATCH_H

#include <stdatomic.h>
#include <stdlib.h>

enum { SCRATCH_PLACES = 32 };

typedef struct {
    _Atomic(void *) places[SCRATCH_PLACES];
} ScratchPool;

/* A block of ``size`` bytes, or NULL when there is no memory. */
static inline void *scratch_take(ScratchPool *pool, size_t size) {
    for (int i = 0; i < SCRATCH_PLACES; i++) {
        if (atomic_load_explicit(&pool->places[i], memory_order_relaxed) == NULL) continue;
        void *block = atomic_exchange_explicit(&pool->places[i], NULL, memory_order_acquire);
        if (block != NULL) return block;
    }
    return malloc(size);
}

static inline void scratch_give(ScratchPool *pool, void *block) {
    for (int i = 0; i < SCRATCH_PLACES; i++) {
        void *expected = NULL;
        if (atomic_load_explicit(&pool->places[i], memory_order_relaxed) == NULL &&
            atomic_compare_exchange_strong_explicit(&pool->places[i], &expected, block,
                                                    memory_order_release, memory_order_relaxed))
            return;
    }
    free(block);
}

static inline void scratch_free(ScratchPool *pool) {
    for (int i = 0; i < SCRATCH_PLACES; i++)
        free(atomic_exchange_explicit(&pool->places[i], NULL, memory_order_acquire));
}

#endif
