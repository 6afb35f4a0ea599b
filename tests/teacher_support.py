"""A teacher of the right shapes and next to no size, trained and kept as the real one is."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
import tokenizers
import torch
import transformers

from topiccore.cli import main
from training.annotate import fit_teacher
from training.config import read_config
from training.dataset import load_dataset
from training.encoder import SPLIT
from training.init_command import made_up
from training.teacher import Teacher
from training.teacher_config import DEFAULT_TEACHER, read_teacher_config

SMALL = {
    "hidden": 32,
    "epochs": 2,
    "min_count_characters": 1,
    "trees": 20,
    "neighbours": 8,
}
WRONG = 0.3
"""So many labels are: scores are then not all the same few."""


class Direct(NamedTuple):
    """A fitted teacher to be called without Spark; ``codes`` and ``least`` of what is kept."""

    fitted: Teacher
    codes: list[str]
    least: float

    def __call__(self, texts: Sequence[str]) -> sp.csr_matrix:
        """float32 CSR [texts, labels]; ``texts`` are in normal form."""
        return self.fitted.score(self.fitted.encoder.encode(list(texts)))


def keep_teacher(folder: Path) -> tuple[Direct, list[str], list[str]]:
    """The teacher, texts it has not seen, and the options that name it on the command line."""
    assert main(["init", str(folder / "project")]) == 0
    cache, config = folder / "cache", folder / "project" / "topiccore.toml"
    settings = folder / "teacher.toml"
    settings.write_text(_smaller(DEFAULT_TEACHER.read_text(encoding="utf-8")), encoding="utf-8")
    random = np.random.default_rng(4)
    rows = [
        (text, random.choice(["TR1", "TR2", "FD1", "FD2"]) if random.random() < WRONG else code)
        for text, code in made_up()
    ]
    with (folder / "project" / "labels" / "example.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([("text", "labels"), *rows])
    words = sorted({word for text, _ in rows for word in text.split()})
    torch.manual_seed(0)
    # Widths are those that the members are made for; all else may be small.
    small = {"vocab_size": len(words) + 4, "intermediate_size": 32, "num_attention_heads": 2}
    mpnet = transformers.MPNetConfig(hidden_size=768, num_hidden_layers=SPLIT + 1, **small)
    minilm = transformers.BertConfig(hidden_size=384, num_hidden_layers=1, **small)
    for name, model in (
        ("all-mpnet-base-v2", transformers.MPNetModel(mpnet, add_pooling_layer=False)),
        ("all-minilm-l6-v2", transformers.BertModel(minilm, add_pooling_layer=False)),
    ):
        model.save_pretrained(cache / name)
        _tokenizer(words).save_pretrained(cache / name)
        # Others write these two as well.
        (cache / name / "special_tokens_map.json").write_text("{}")
        (cache / name / "vocab.txt").write_text("\n".join(words))
    read = read_config(config)
    data = load_dataset(
        replace(read, annotations=replace(read.annotations, file="")), cache, _quiet
    )
    config_of_teacher = read_teacher_config(settings)
    teacher = fit_teacher(config_of_teacher, data, cache, _quiet)
    known = set(data.train.texts)
    texts = [f"{first} {last}" for first in words[::7] for last in words[3::11]]
    texts = [text for text in texts if text not in known]
    codes = [label.code for label in data.taxonomy]
    direct = Direct(teacher, codes, config_of_teacher.annotations.least)
    paths = {"--config": config, "--teacher": settings, "--cache": cache}
    return direct, texts, [str(word) for pair in paths.items() for word in pair]


def _smaller(settings: str) -> str:
    lines = []
    for line in settings.splitlines():
        name = line.split(" =")[0]
        lines.append(f"{name} = {SMALL[name]}" if name in SMALL else line)
    return "\n".join(lines) + "\n"


def _tokenizer(words: list[str]) -> transformers.PreTrainedTokenizerFast:
    vocabulary = {word: number for number, word in enumerate(["<s>", "<pad>", "</s>", "[UNK]"])}
    vocabulary |= {word: number for number, word in enumerate(words, start=len(vocabulary))}
    model = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="[UNK]"))
    model.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    model.post_processor = tokenizers.processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=model, unk_token="[UNK]", pad_token="<pad>"
    )


def _quiet(line: str) -> None:
    """Takes a line of progress."""
