"""topiccore tells which topics a search query is about.

>>> import topiccore
>>> model = topiccore.load()
>>> model.score("used honda civic dallas")
"""

from topiccore._scoring import MAX_QUERY_BYTES, MAX_TOKENS, Answer, EmittedLabel
from topiccore.arrow import ArrowAnswers
from topiccore.compaction import compact
from topiccore.errors import ArtifactError, QueryTooLongError, QueryTypeError, TopiccoreError
from topiccore.model import Explanation, FeatureShare, TopicModel, load
from topiccore.taxonomy import Taxonomy, TaxonomyLabel

__version__ = "0.1.0"

__all__ = [
    "MAX_QUERY_BYTES",
    "MAX_TOKENS",
    "Answer",
    "ArrowAnswers",
    "ArtifactError",
    "EmittedLabel",
    "Explanation",
    "FeatureShare",
    "QueryTooLongError",
    "QueryTypeError",
    "Taxonomy",
    "TaxonomyLabel",
    "TopicModel",
    "TopiccoreError",
    "compact",
    "load",
]
