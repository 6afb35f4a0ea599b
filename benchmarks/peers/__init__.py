"""Peers side by side: one small file per library, each with the same names.

    TITLE      what the table calls it
    PACKAGES   the distributions it needs, for the versions in the results
    SETTINGS   everything that shapes its model: part of the key it is cached under
    train(texts, targets, folder, report)   learns and writes its model into ``folder``
    load(folder)                            the model, ready to answer
    score(model, query)                     labels of one query: what a service would call
    score_batch(model, queries)             the same for many queries, its quickest way
    probabilities(model, queries)           float32 [queries, labels]: for quality, never timed

``targets`` is float32 [queries, labels], probabilities; peers that learn from sets of labels take
those that reach 0.5.  ``score`` emits what reaches 0.5, at most the best five where it can.
Every peer runs on one thread, in a process of its own that imports no other peer.
"""

PEERS = {
    name: f"benchmarks.peers.{name}"
    for name in (
        "topiccore_artifact",
        "fasttext_words",
        "fasttext_subwords",
        "fasttext_quantised",
        "vowpal_wabbit",
        "static_vectors",
        "sklearn_hashing",
        "onnx_hashing",
    )
}
THRESHOLD = 0.5
MOST_LABELS = 5
