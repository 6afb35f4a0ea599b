"""The taxonomy: order, lookups, and what is refused."""

from dataclasses import FrozenInstanceError

import numpy as np
import pytest

from topiccore import Taxonomy, TaxonomyLabel


def test_labels_keep_their_order(taxonomy):
    codes = ["V", "V1", "V2", "V3", "T", "T1", "T2", "S", "S1", "S2"]
    assert [label.code for label in taxonomy] == codes
    assert [taxonomy.index_of(code) for code in codes] == list(range(10))
    assert [taxonomy[i].code for i in range(len(taxonomy))] == codes
    assert taxonomy[-1].code == "S2"


def test_parents_are_the_places_of_the_topics(taxonomy):
    assert taxonomy.parents.dtype == np.int32
    assert taxonomy.parents.tolist() == [-1, 0, 0, 0, -1, 4, 4, -1, 7, 7]


def test_parents_cannot_be_changed(taxonomy):
    assert not taxonomy.parents.flags.writeable


def test_topics_and_subtopics(taxonomy):
    assert [label.code for label in taxonomy.topics] == ["V", "T", "S"]
    assert [label.code for label in taxonomy.subtopics("T")] == ["T1", "T2"]
    assert taxonomy.subtopics("T1") == []
    assert taxonomy.subtopics("no such code") == []


def test_full_names(taxonomy):
    assert taxonomy.full_name("V") == "Vehicles"
    assert taxonomy.full_name("V2") == "Vehicles > Motorcycles"


def test_codes_are_members(taxonomy):
    assert "V1" in taxonomy
    assert "v1" not in taxonomy
    assert None not in taxonomy


@pytest.mark.parametrize("method", ["index_of", "full_name"])
def test_unknown_code(taxonomy, method):
    with pytest.raises(KeyError, match="X9"):
        getattr(taxonomy, method)("X9")


def test_labels_are_frozen(taxonomy):
    with pytest.raises(FrozenInstanceError):
        taxonomy[0].code = "W"


def test_labels_are_copied():
    labels = [TaxonomyLabel("V", "Vehicles", None)]
    taxonomy = Taxonomy(labels)
    labels.clear()
    assert len(taxonomy) == 1


def test_no_label():
    with pytest.raises(ValueError, match="at least one label"):
        Taxonomy([])


def test_code_twice():
    with pytest.raises(ValueError, match="'V' appears twice"):
        Taxonomy([TaxonomyLabel("V", "Vehicles", None), TaxonomyLabel("V", "Others", None)])
    with pytest.raises(ValueError, match="'V' appears twice"):
        Taxonomy([TaxonomyLabel("V", "Vehicles", None), TaxonomyLabel("V", "Others", "V")])


@pytest.mark.parametrize(
    "labels",
    [
        pytest.param([("V1", "T")], id="no such topic"),
        pytest.param([("V1", "V"), ("V", None)], id="topic after its subtopic"),
        pytest.param([("V1", "V1")], id="a topic of its own"),
        pytest.param([("V", None), ("V2", "V"), ("V1", "V2")], id="three levels"),
        pytest.param([("V", None), ("V1", "")], id="empty code of a topic"),
    ],
)
def test_subtopic_without_its_topic(labels):
    with pytest.raises(ValueError, match=r"subtopic 'V1': no topic '.*' stands before it"):
        Taxonomy([TaxonomyLabel(code, f"Name of {code}", topic) for code, topic in labels])
