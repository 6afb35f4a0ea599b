/* Logits in the context of a query's other labels; topiccore.reference says the same in Python.
 * In float, in this order and without fused multiply-adds: every build gives the same bits. */
#ifndef TOPICCORE_CONTEXT_H
#define TOPICCORE_CONTEXT_H

#include <math.h>
#include <stdint.h>

#include "_rows.h"

/* The greatest and the second greatest of some numbers; a NaN counts as none. */
typedef struct {
    float first, second;
} BestTwo;

static inline BestTwo best_two(const float *values, int count) {
    BestTwo best = {-INFINITY, -INFINITY};
    for (int i = 0; i < count; i++) {
        float value = values[i];
        float lesser = value < best.first ? value : best.first;
        best.second = lesser > best.second ? lesser : best.second;
        best.first = value > best.first ? value : best.first;
    }
    return best;
}

static inline float best_other(BestTwo best, float own) {
    return own == best.first ? best.second : best.first;
}

/* The best two subtopics of each topic, and the best label of each topic: itself or a subtopic.
 * Label starts[t] is topic t, the labels up to starts[t + 1] are its subtopics. */
static inline void best_of_topics(const float *logits, const int32_t *starts, int topics,
                                  BestTwo *families, float *bests) {
    for (int t = 0; t < topics; t++) {
        int own = starts[t];
        families[t] = best_two(logits + own + 1, starts[t + 1] - own - 1);
        bests[t] = logits[own] > families[t].first ? logits[own] : families[t].first;
    }
}

/* Drops from the ``found`` labels in ``reached`` those of other topics than the best (by ``bests``,
 * ties are best together) whose logit in context is below ``beside``; how many are left. */
static inline int drop_beside(const float *context_logits, const float *beside,
                              const float *bests, int topics, const int32_t *topic_of,
                              int32_t *reached, int found) {
    float best = best_two(bests, topics).first;
    int kept = 0;
    for (int i = 0; i < found; i++) {
        int label = reached[i];
        if (bests[topic_of[label]] == best || context_logits[label] >= beside[label])
            reached[kept++] = label;
    }
    return kept;
}

TOPICCORE_DISPATCH
void topiccore_best_of_topics(const float *logits, const int32_t *starts, int topics,
                              BestTwo *families, float *bests) {
    best_of_topics(logits, starts, topics, families, bests);
}

/* context_logits[l] = logits[l] + family[l] * F + sibling[l] * B + rival[l] * V.
 * ``families`` and ``bests`` are filled as by best_of_topics. */
TOPICCORE_DISPATCH
void topiccore_in_context(const float *logits, const float *family, const float *sibling,
                          const float *rival, const int32_t *starts, int topics,
                          BestTwo *families, float *bests, float *context_logits) {
    best_of_topics(logits, starts, topics, families, bests);
    BestTwo of_all = best_two(bests, topics);
    for (int t = 0; t < topics; t++) {
        int own = starts[t], count = starts[t + 1] - own;
        float topic = logits[own], strongest = topics > 1 ? best_other(of_all, bests[t]) : 0.0f;
        float value = count > 1 ? families[t].first : 0.0f;
        context_logits[own] = (topic + family[own] * value) + rival[own] * strongest;
        for (int l = own + 1; l < own + count; l++) {
            float other = count > 2 ? best_other(families[t], logits[l]) : 0.0f;
            float sum = (logits[l] + family[l] * topic) + sibling[l] * other;
            context_logits[l] = sum + rival[l] * strongest;
        }
    }
}

#endif
