"""One answer to a query, row by row: ``score``, the service, and the batch command.

``test_spark.py`` has Spark beside all of these, where there is Java.
"""

from __future__ import annotations

from batch_support import expected
from ways_support import by_batch, by_post, by_post_of_many, by_score, many_queries, rounded

from batch import readers


def test_every_way_gives_the_same_answers(any_model, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(readers, "BLOCK_BYTES", 2000)
    queries = many_queries()
    rows = [expected(any_model, query) for query in queries]
    assert sum(map(bool, rows)) > 100
    for threads in (1, 2):
        assert by_batch(any_model, queries, tmp_path, threads) == rows
    assert (tmp_path / "1.parquet").read_bytes() == (tmp_path / "2.parquet").read_bytes()
    assert rounded(by_score(any_model, queries, monkeypatch, capfd)) == rounded(rows)
    assert rounded(by_post(any_model, queries)) == rounded(rows)
    assert rounded(by_post_of_many(any_model, queries)) == rounded(rows)
