"""The settings of a run: the shipped file is whole, and each fault is told with its setting."""

import dataclasses
import tomllib

import pytest

from training.config import DEFAULT, RANGES, TEMPLATE, Config, read_config
from training.errors import ConfigError

SHIPPED = DEFAULT.read_text(encoding="utf-8")
# Anywhere else it names the same files.
TEXT = SHIPPED.replace('"data/', f'"{DEFAULT.parent}/data/')
OWN = '[data]\ntaxonomy = "t.csv"\ntrain = "{train}"\n'


def numbers() -> dict[str, float]:
    """The numbers of the shipped settings, by "section.setting"."""
    raw = tomllib.loads(TEXT)
    found = {"seed": raw.pop("seed")}
    for section, values in raw.items():
        found |= {f"{section}.{key}": x for key, x in values.items() if type(x) in (int, float)}
    return found


def changed(path, setting, value):
    """Writes the shipped settings with one of them changed, as TOML text."""
    section, _, key = setting.rpartition(".")
    lines, current, done = [], "", 0
    for line in TEXT.splitlines():
        if line.startswith("["):
            current = line.strip("[]")
        if current == section and line.split("=")[0].strip() == key:
            line, done = f"{key} = {value}", done + 1
            if value is None:
                continue
        lines.append(line)
    assert done == 1
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def refused(path):
    with pytest.raises(ConfigError) as caught:
        read_config(path)
    assert str(caught.value).startswith(f"{path}: ")
    return str(caught.value).removeprefix(f"{path}: ")


def test_shipped_settings():
    config = read_config(DEFAULT)
    raw = tomllib.loads(SHIPPED)
    assert config.seed == raw["seed"]
    for section in ("data", "vectors", "student", "thresholds"):
        assert config.section(section) == raw[section]
    assert config.path("train") == DEFAULT.parent / "data" / "labels-train.tsv"
    files = ("taxonomy", "train", "validation", "test")
    assert all(config.path(name).is_file() for name in files)


def test_every_number_has_a_range():
    assert set(numbers()) == set(RANGES)


def test_files_are_relative_to_the_settings(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub").mkdir()
    changed(tmp_path / "sub" / "c.toml", "data.test", "'x/y.tsv'")
    config = read_config((tmp_path / "sub" / "c.toml").relative_to(tmp_path))
    assert config.path("test") == tmp_path.resolve() / "sub" / "x" / "y.tsv"


def test_whole_number_may_stand_for_a_fraction(tmp_path):
    config = read_config(changed(tmp_path / "c.toml", "student.l2", 1))
    assert config.student.l2 == 1.0
    assert type(config.student.l2) is float


def test_settings_cannot_be_changed():
    config = read_config(DEFAULT)
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.seed = 1


@pytest.mark.parametrize("setting", [*numbers(), "data.taxonomy", "data.train", "data.test"])
def test_missing_setting_is_told(tmp_path, setting):
    path = changed(tmp_path / "c.toml", setting, None)
    assert refused(path) == f"setting {setting} is missing"


@pytest.mark.parametrize("section", ["data", "vectors", "student", "thresholds"])
def test_missing_section_is_told(tmp_path, section):
    path = tmp_path / "c.toml"
    start = TEXT.index(f"[{section}]")
    end = TEXT.find("\n[", start)
    path.write_text(TEXT[:start] + (TEXT[end + 1 :] if end > 0 else ""))
    assert refused(path) == f"setting {section} is missing"


@pytest.mark.parametrize("setting", list(RANGES))
@pytest.mark.parametrize("side", [0, 1])
def test_number_out_of_range_is_told(tmp_path, setting, side):
    bound = RANGES[setting][side]
    whole = isinstance(numbers()[setting], int)
    step = 1 if whole else 1e-4
    inside = int(bound) if whole else float(bound)
    outside = inside + (step if side else -step)
    path = tmp_path / "c.toml"
    read_config(changed(path, setting, inside))
    said = refused(changed(path, setting, outside))
    assert said.startswith(f"{setting} is ")
    assert " not between " in said


@pytest.mark.parametrize("setting", list(RANGES))
@pytest.mark.parametrize("value", ["'7'", "true", "[1]", "{a = 1}"])
def test_value_of_another_kind_is_told(tmp_path, setting, value):
    said = refused(changed(tmp_path / "c.toml", setting, value))
    kind = type(numbers()[setting]).__name__
    assert said.startswith(f"{setting} is ")
    assert said.endswith(f"not {kind}")


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_fraction_that_is_no_number_is_told(tmp_path, value):
    assert refused(changed(tmp_path / "c.toml", "student.l2", value)).startswith("student.l2 is ")


@pytest.mark.parametrize(
    ("setting", "value"), [("seed", "1.0"), ("student.epochs", "2.5"), ("data.train", "3")]
)
def test_fraction_or_number_in_the_wrong_place_is_told(tmp_path, setting, value):
    assert refused(changed(tmp_path / "c.toml", setting, value)).startswith(f"{setting} is {value}")


@pytest.mark.parametrize(
    ("added", "named"),
    [("top = 1\n", "top"), ("[student2]\nx = 1\n", "student2")],
)
def test_unknown_setting_or_section_is_told(tmp_path, added, named):
    path = tmp_path / "c.toml"
    path.write_text(added + TEXT if added.startswith("top") else TEXT + added)
    assert refused(path) == f"unknown setting {named}"


def test_unknown_setting_in_a_section_is_told(tmp_path):
    path = tmp_path / "c.toml"
    path.write_text(TEXT.replace("[student]", "[student]\nlearning_rat = 1"))
    assert refused(path) == "unknown setting student.learning_rat"


def test_folder_is_no_setting(tmp_path):
    assert "folder" in {item.name for item in dataclasses.fields(Config)}
    path = tmp_path / "c.toml"
    path.write_text(f"folder = 'x'\n{TEXT}")
    assert refused(path) == "unknown setting folder"


def test_section_that_is_a_value_is_told(tmp_path):
    path = tmp_path / "c.toml"
    start, end = TEXT.index("[vectors]"), TEXT.index("\n[student]")
    path.write_text("vectors = 3\n" + TEXT[:start] + TEXT[end:])
    assert refused(path) == "vectors is not a section"


@pytest.mark.parametrize("content", [b"seed = ", b"seed = 1\nseed = 2", b"\xff"])
def test_file_that_is_no_toml_is_told(tmp_path, content):
    path = tmp_path / "c.toml"
    path.write_bytes(content)
    assert refused(path)


def test_missing_file_is_told(tmp_path):
    assert refused(tmp_path / "none.toml") == "No such file or directory"
    assert refused(tmp_path) == "Is a directory"


# --- data of one's own ---------------------------------------------------------------------------


@pytest.mark.parametrize("train", ["labels.csv", "*.csv", "none.csv", "none/*.csv"])
def test_what_is_missing_for_own_data_is_that_of_a_new_project(tmp_path, train):
    (tmp_path / "labels.csv").write_text("text,labels\nx,A\n")
    path = tmp_path / "c.toml"
    path.write_text(OWN.format(train=train) + "[student]\nepochs = 3\n")
    config, new = read_config(path), tomllib.loads(TEMPLATE.read_text(encoding="utf-8"))
    assert config.seed == new["seed"]
    for section in ("vectors", "words", "annotations", "thresholds", "report"):
        assert config.section(section) == new[section]
    assert config.section("student") == new["student"] | {"epochs": 3}
    files = {"filled_in": "", "validation": "", "test": "", "unlabelled": ""}
    own = {"taxonomy": "t.csv", "train": train, "held_out": new["data"]["held_out"]}
    assert config.section("data") == files | own
    assert config.folder == tmp_path.resolve()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (OWN + "valdation = 'v.csv'\n", "unknown setting data.valdation"),
        (OWN + "[studnt]\nepochs = 3\n", "unknown setting studnt"),
        (OWN + "[student]\nepoch = 3\n", "unknown setting student.epoch"),
        ("student = 3\n" + OWN, "student is not a section"),
        ("[data]\ntrain = 'x.csv'\n", "setting data.taxonomy is missing"),
        ("[data]\ntaxonomy = 't.csv'\n", "setting data.train is missing"),
        ("seed = 3\n", "setting data is missing"),
    ],
)
def test_faults_of_settings_for_own_data(tmp_path, text, said):
    path = tmp_path / "c.toml"
    path.write_text(text.replace("{train}", "x.csv"))
    assert refused(path) == said
