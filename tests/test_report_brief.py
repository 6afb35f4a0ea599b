"""The part of a report that an artifact carries along."""

import json

import numpy as np
from test_report import TAXONOMY, labelled

from training.report import brief
from training.report.answers import Answers


def test_brief(monkeypatch):
    scores = np.random.default_rng(0).random((500, 3)).astype(np.float32)
    emitted = scores > 0.8
    gold = scores > 0.5
    gold[:10] = False
    zeros = np.zeros(len(scores), np.int64)
    monkeypatch.setattr(brief, "answers_of", lambda *_: Answers(scores, emitted, zeros, zeros))
    model = type("Model", (), {"taxonomy": TAXONOMY})
    found = json.loads(json.dumps(brief.brief(model, labelled(gold))))
    assert set(found) == {"curves", "per_label"}
    assert found["per_label"] == {
        code: [int(gold[:, i].sum()), int(emitted[:, i].sum()), int((gold & emitted)[:, i].sum())]
        for i, code in enumerate(("A", "A1", "B"))
    }
    for by_weighting in found["curves"].values():
        for points in by_weighting.values():
            assert 2 < len(points) <= brief.POINTS
            assert points[-1][0] == 1
