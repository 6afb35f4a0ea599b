"""The networks of the teacher: each maps encoded queries to one logit per label.

Three kinds that err differently: ``FineTuned`` reads the query through the upper layers of MPNet,
which it trains; ``Dense`` is one hidden layer over the frozen sentence vectors; ``Ngrams`` one
hidden layer over word and character TF-IDF.  All are trained on binary cross-entropy summed over
labels, by minibatches, on one thread, so that one seed gives one result.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer
from torch import nn

from training.encoder import SPLIT, EncodedQueries, load_model
from training.teacher_config import DenseConfig, FineTunedConfig, NgramsConfig

Report = Callable[[str], None]
Rows = NDArray[np.int64]


def prior_logits(gold: NDArray[np.bool_]) -> torch.Tensor:
    """The log-odds of each label's share, kept from the extremes."""
    return torch.logit(
        torch.from_numpy(gold.mean(axis=0, dtype=np.float64)).clamp(2e-5, 0.5)
    ).float()


def _minibatches(
    rows: Rows, size: int, lengths: NDArray[np.int64] | None, rng: np.random.Generator
) -> Iterator[Rows]:
    """Shuffled minibatches; with ``lengths``, of texts about equally long."""
    rows = rng.permutation(rows)
    if lengths is None:
        yield from (rows[start : start + size] for start in range(0, len(rows), size))
        return
    batches = []
    for start in range(0, len(rows), 24 * size):
        group = rows[start : start + 24 * size]
        group = group[np.argsort(lengths[group] + rng.random(len(group)))]
        batches += [group[place : place + size] for place in range(0, len(group), size)]
    for place in rng.permutation(len(batches)):
        yield batches[place]


class Member(ABC):
    """One network of the teacher, with the training loop that all share."""

    name = ""
    network: Any
    epochs: int
    batch: int

    def __init__(self, labels: int, seed: int, report: Report):
        self.labels = labels
        self.seed = seed
        self.report = report

    @abstractmethod
    def fit(self, queries: EncodedQueries, gold: NDArray[np.bool_], rows: Rows) -> None:
        """Learns from the given rows of the labelled queries."""

    @abstractmethod
    def logits(self, queries: EncodedQueries) -> NDArray[np.float32]:
        """float32 [queries, labels]."""

    @abstractmethod
    def restore(self, state: Any) -> None:
        """Takes what ``state`` returned."""

    def state(self) -> Any:
        """What ``restore`` needs to make the member again."""
        return self.network.state_dict()

    def _train(
        self,
        optimizers: list[torch.optim.Optimizer],
        forward: Callable[[Rows], torch.Tensor],
        gold: NDArray[np.bool_],
        rows: Rows,
        lengths: NDArray[np.int64] | None,
        warm_up: float,
    ) -> None:
        rng = np.random.default_rng(self.seed)
        targets = torch.from_numpy(gold.astype(np.float32))
        steps = self.epochs * math.ceil(len(rows) / self.batch)
        schedulers = [
            torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, steps, warm_up))
            for optimizer in optimizers
        ]
        done, total = 0, 0.0
        for epoch in range(self.epochs):
            self.network.train()
            for batch in _minibatches(rows, self.batch, lengths, rng):
                loss = nn.functional.binary_cross_entropy_with_logits(
                    forward(batch), targets[batch], reduction="sum"
                ) / len(batch)
                for optimizer in optimizers:
                    optimizer.zero_grad()
                loss.backward()
                for optimizer, scheduler in zip(optimizers, schedulers, strict=True):
                    optimizer.step()
                    scheduler.step()
                done += 1
                total += loss.item()
                if done % 100 == 0 or done == steps:
                    self.report(
                        f"{self.name}: epoch {epoch + 1}/{self.epochs}, step {done}/{steps}, "
                        f"loss {total / ((done - 1) % 100 + 1):.3f}"
                    )
                    total = 0.0
        self.network.eval()


def _rate(step: int, steps: int, warm_up: float) -> float:
    rising = (step + 1) / max(1.0, warm_up * steps)
    return min(1.0, rising, max(0.01, (steps - step) / (steps * (1 - warm_up))))


class _UpperLayers(nn.Module):  # type: ignore[misc]
    """The fine-tuned layers of MPNet, mean of the tokens scaled to length 5, a linear head."""

    def __init__(self, folder: Any, labels: int):
        super().__init__()
        model = load_model(folder)
        encoder = model.encoder
        self.layers = encoder.layer[SPLIT:]
        self.relative = encoder.relative_attention_bias
        self.relative.weight.requires_grad = False
        self.position_bias = encoder.compute_position_bias
        self.dropout = nn.Dropout(0.1)
        self.head = nn.Linear(model.config.hidden_size, labels)

    def forward(self, hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        attention = None if bool(mask.all()) else torch.where(mask, 0.0, -1e4)[:, None, None, :]
        bias = self.position_bias(hidden)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            for layer in self.layers:
                hidden = layer(hidden, attention, bias)[0]
        mean = (hidden.float() * mask[..., None]).sum(dim=1)
        logits: torch.Tensor = self.head(self.dropout(5 * nn.functional.normalize(mean, dim=1)))
        return logits


class FineTuned(Member):
    """MPNet's upper layers, trained from the kept output of the lower ones.

    The head starts from the mean vector of each label's queries; layers nearer to the input learn
    more slowly (Howard and Ruder 2018, arXiv:1801.06146).
    """

    name = "fine-tuned encoder"

    def __init__(
        self, config: FineTunedConfig, labels: int, seed: int, folder: Any, report: Report
    ):
        super().__init__(labels, seed, report)
        self.config = config
        self.epochs, self.batch = config.epochs, config.batch
        torch.manual_seed(seed)
        self.network = _UpperLayers(folder, labels)

    def fit(self, queries: EncodedQueries, gold: NDArray[np.bool_], rows: Rows) -> None:
        """Learns from the given rows of the labelled queries."""
        self._start_head(queries, gold, rows)
        depth = len(self.network.layers)
        groups: list[dict[str, Any]] = [
            {
                "params": list(layer.parameters()),
                "lr": self.config.learning_rate * self.config.decay ** (depth - 1 - place),
            }
            for place, layer in enumerate(self.network.layers)
        ]
        head = {"params": list(self.network.head.parameters()), "lr": self.config.head_rate}
        optimizer = torch.optim.AdamW(
            [*groups, head], weight_decay=0.01, betas=(0.9, 0.98), fused=True
        )
        lengths = queries.lengths
        self._train(
            [optimizer], lambda batch: self._forward(queries, batch), gold, rows, lengths, 0.06
        )

    def _start_head(self, queries: EncodedQueries, gold: NDArray[np.bool_], rows: Rows) -> None:
        vectors = queries.vectors[rows, : self.network.head.in_features].astype(np.float32)
        chosen = gold[rows].astype(np.float32)
        mean = vectors.mean(axis=0)
        centres = chosen.T @ vectors / np.maximum(chosen.sum(axis=0), 1)[:, None] - mean
        with torch.no_grad():
            self.network.head.weight.copy_(torch.from_numpy(2 * centres))
            self.network.head.bias.copy_(
                prior_logits(gold[rows]) - 5 * self.network.head.weight @ torch.from_numpy(mean)
            )

    def _forward(self, queries: EncodedQueries, rows: Rows) -> torch.Tensor:
        lengths = queries.lengths[rows]
        hidden = np.zeros((len(rows), int(lengths.max()), queries.hidden.shape[1]), np.float32)
        for place, row in enumerate(rows):
            tokens = queries.hidden[queries.offsets[row] : queries.offsets[row + 1]]
            hidden[place, : len(tokens)] = tokens
        mask = torch.arange(hidden.shape[1])[None] < torch.from_numpy(lengths)[:, None]
        result: torch.Tensor = self.network(torch.from_numpy(hidden), mask)
        return result

    def logits(self, queries: EncodedQueries) -> NDArray[np.float32]:
        """float32 [queries, labels]."""
        result = np.zeros((len(queries), self.labels), np.float32)
        order = np.argsort(queries.lengths, kind="stable")
        with torch.inference_mode():
            for start in range(0, len(order), 256):
                rows = order[start : start + 256]
                result[rows] = self._forward(queries, rows).numpy()
        return result

    def restore(self, state: Any) -> None:
        """Takes what ``state`` returned."""
        self.network.load_state_dict(state)
        self.network.eval()


class Dense(Member):
    """One hidden layer over the frozen vectors of both encoders."""

    name = "frozen vectors"

    def __init__(self, config: DenseConfig, labels: int, seed: int, report: Report):
        super().__init__(labels, seed, report)
        self.config = config
        self.epochs, self.batch = config.epochs, config.batch
        torch.manual_seed(seed)
        # Unit vectors are scaled so that a component is about 1 (MPNet) and 0.7 (MiniLM).
        self.scale = np.repeat(np.array([28, 14], np.float32), [768, 384])
        self.network = nn.Sequential(
            nn.Dropout(0.2),
            nn.Linear(len(self.scale), config.hidden),
            nn.GELU(),
            nn.Dropout(0.5),
            nn.Linear(config.hidden, labels),
        )

    def fit(self, queries: EncodedQueries, gold: NDArray[np.bool_], rows: Rows) -> None:
        """Learns from the given rows of the labelled queries."""
        with torch.no_grad():
            self.network[-1].bias.copy_(prior_logits(gold[rows]))
        optimizer = torch.optim.AdamW(
            self.network.parameters(), lr=self.config.learning_rate, weight_decay=0.02, fused=True
        )
        self._train(
            [optimizer], lambda batch: self._forward(queries, batch), gold, rows, None, 0.05
        )

    def _forward(self, queries: EncodedQueries, rows: Rows) -> torch.Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            values = torch.from_numpy(queries.vectors[rows].astype(np.float32) * self.scale)
            result: torch.Tensor = self.network(values)
        return result.float()

    def logits(self, queries: EncodedQueries) -> NDArray[np.float32]:
        """float32 [queries, labels]."""
        return _in_blocks(queries, lambda rows: self._forward(queries, rows))

    def restore(self, state: Any) -> None:
        """Takes what ``state`` returned."""
        self.network.load_state_dict(state)
        self.network.eval()


def _in_blocks(
    queries: EncodedQueries, forward: Callable[[Rows], torch.Tensor]
) -> NDArray[np.float32]:
    with torch.inference_mode():
        blocks = [
            forward(np.arange(start, min(start + 1024, len(queries)))).numpy()
            for start in range(0, len(queries), 1024)
        ]
    return np.concatenate(blocks)


class _NgramNetwork(nn.Module):  # type: ignore[misc]
    def __init__(self, features: int, hidden: int, labels: int):
        super().__init__()
        self.embedding = nn.EmbeddingBag(features, hidden, mode="sum", sparse=True)
        nn.init.normal_(self.embedding.weight, std=0.05)
        self.bias = nn.Parameter(torch.zeros(hidden))
        self.dropout = nn.Dropout(0.4)
        self.head = nn.Linear(hidden, labels)

    def forward(
        self, columns: torch.Tensor, starts: torch.Tensor, values: torch.Tensor
    ) -> torch.Tensor:
        if self.training:  # whole n-grams are left out, as unseen words will be
            values = values * (torch.rand(len(values)) > 0.15) / 0.85
        hidden = self.embedding(columns, starts, per_sample_weights=values) + self.bias
        result: torch.Tensor = self.head(self.dropout(torch.relu(hidden)))
        return result


class Ngrams(Member):
    """One hidden layer over TF-IDF of words, word pairs and characters (scikit-learn)."""

    name = "n-grams"

    def __init__(self, config: NgramsConfig, labels: int, seed: int, report: Report):
        super().__init__(labels, seed, report)
        self.config = config
        self.epochs, self.batch = config.epochs, config.batch
        self.vectorizers: list[TfidfVectorizer] = []

    def fit(self, queries: EncodedQueries, gold: NDArray[np.bool_], rows: Rows) -> None:
        """Learns from the given rows of the labelled queries."""
        torch.manual_seed(self.seed)
        texts = [queries.texts[row] for row in rows]
        self.vectorizers = [
            TfidfVectorizer(
                ngram_range=(1, 2),
                min_df=self.config.min_count_words,
                token_pattern=r"(?u)\b\w+\b",
                sublinear_tf=True,
                dtype=np.float32,
            ).fit(texts),
            TfidfVectorizer(
                analyzer="char_wb",
                ngram_range=(3, 5),
                min_df=self.config.min_count_characters,
                sublinear_tf=True,
                dtype=np.float32,
            ).fit(texts),
        ]
        matrix = self._transform(queries.texts)
        self.network = _NgramNetwork(matrix.shape[1], self.config.hidden, self.labels)
        with torch.no_grad():
            self.network.head.bias.copy_(prior_logits(gold[rows]))
        dense = [self.network.bias, *self.network.head.parameters()]
        optimizers = [
            torch.optim.SparseAdam(
                list(self.network.embedding.parameters()), lr=self.config.learning_rate
            ),
            torch.optim.AdamW(dense, lr=0.75 * self.config.learning_rate, weight_decay=1e-3),
        ]
        self._train(optimizers, lambda batch: self._forward(matrix, batch), gold, rows, None, 0.0)

    def _transform(self, texts: list[str]) -> sp.csr_matrix:
        parts = [vectorizer.transform(texts) for vectorizer in self.vectorizers]
        return sp.hstack(parts, format="csr", dtype=np.float32)

    def _forward(self, matrix: sp.csr_matrix, rows: Rows) -> torch.Tensor:
        part = matrix[rows]
        result: torch.Tensor = self.network(
            torch.from_numpy(part.indices.astype(np.int64)),
            torch.from_numpy(part.indptr[:-1].astype(np.int64)),
            torch.from_numpy(part.data),
        )
        return result

    def logits(self, queries: EncodedQueries) -> NDArray[np.float32]:
        """float32 [queries, labels]."""
        matrix = self._transform(queries.texts)
        return _in_blocks(queries, lambda rows: self._forward(matrix, rows))

    def state(self) -> Any:
        """The vectorizers and the weights."""
        return self.vectorizers, self.network.state_dict()

    def restore(self, state: Any) -> None:
        """Takes what ``state`` returned."""
        self.vectorizers, weights = state
        features = sum(len(vectorizer.vocabulary_) for vectorizer in self.vectorizers)
        self.network = _NgramNetwork(features, self.config.hidden, self.labels)
        self.network.load_state_dict(weights)
        self.network.eval()
