"""The queries that versions are compared on: a table, the project's own, or none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from registry.errors import RegistryError
from topiccore import TopicModel
from topiccore.errors import TopiccoreError

if TYPE_CHECKING:
    from training.labels import LabelledQueries


@dataclass(frozen=True)
class QuerySource:
    """Where labelled queries come from.

    ``labels`` are tables with the columns text and labels; ``config`` names the settings of a
    training run, whose test queries are used.  Without either it is the project's own settings, if
    the texts of their queries are in ``cache``: nothing is fetched for a gate.  ``figures_only`` is
    a reason to be content, where there are no queries, with the figures that versions carry.
    """

    labels: Sequence[Path] = ()
    config: Path | None = None
    cache: Path | None = None
    figures_only: str | None = None

    def labelled(
        self, model: TopicModel, tell: Callable[[str], None]
    ) -> tuple[LabelledQueries | None, str]:
        """The queries, labelled in the model's taxonomy; or none, and why there are none.

        Raises ``TopiccoreError`` when files that were named cannot be used.
        """
        try:
            return self._read(model, tell), ""
        except ModuleNotFoundError as error:
            text = f"the package {error.name} is missing: pip install 'topiccore[train]'"
            if self.named:
                raise RegistryError(f"labelled queries cannot be read: {text}") from error
        except TopiccoreError as error:
            if self.named:
                raise
            text = str(error)
        return None, text

    def files(self) -> list[Path]:
        """The files of the queries that ``labelled`` reads."""
        if self.labels:
            return list(self.labels)
        from training.config import DEFAULT, read_config

        config = read_config(self.config or DEFAULT)
        for name in ("test", "validation", "train"):
            if files := config.files(name):
                return files
        return []

    @property
    def named(self) -> bool:
        """Whether somebody chose the queries: they are not the project's own."""
        return bool(self.labels or self.config)

    def _read(self, model: TopicModel, tell: Callable[[str], None]) -> LabelledQueries:
        from training.collections import QUERIES_FILE, default_cache
        from training.config import DEFAULT, read_config

        if self.labels:
            from training.own_data import read_own_labels

            return read_own_labels(list(self.labels), model.taxonomy, tell)
        from training.dataset import load_dataset

        cache = self.cache or default_cache()
        if self.config is None:
            if not DEFAULT.exists():
                raise RegistryError(f"{DEFAULT}: there are no labelled queries of the project")
            if not (cache / QUERIES_FILE).exists():
                raise RegistryError(
                    f"{cache}: the texts of the project's labelled queries are not there; "
                    "'topiccore train collections' fetches them"
                )
        config = read_config(self.config or DEFAULT)
        data = load_dataset(config, cache, tell)
        if [x.code for x in data.taxonomy] != [x.code for x in model.taxonomy]:
            raise RegistryError(
                f"{config.path('taxonomy')}: is not the taxonomy of {model.id[:12]}"
            )
        return data.test if len(data.test) else data.validation


def read_queries(paths: Sequence[Path]) -> list[str]:
    """Unlabelled queries: lines of ``.txt``, else the column text of a table; each once."""
    try:
        from training.own_data import read_texts
    except ModuleNotFoundError as error:
        raise RegistryError(
            f"queries cannot be read: the package {error.name} is missing: "
            "pip install 'topiccore[train]'"
        ) from error
    texts = read_texts(paths)
    if not texts:
        raise RegistryError(f"{', '.join(map(str, paths))}: no query")
    return texts


def label_texts(model: TopicModel) -> list[str]:
    """Texts to time a model on where there are no queries: the names of labels and their scopes."""
    found = [label.name for label in model.taxonomy]
    found += [part.strip() for label in model.taxonomy for part in label.scope.split(",")]
    return [text for text in found if text]
