"""Saving and loading artifacts: round trip, golden id, and every kind of damage refused."""

import hashlib
import io
import json
import mmap
import os
import shutil
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from topiccore import ArtifactError, Taxonomy, TaxonomyLabel, TopicModel, reference
from topiccore import artifact as artifact_module
from topiccore.artifact import ARRAYS, ROW_TYPES, Artifact, Index, build_index, dtypes, load, save

GOLDEN_ID = "b4bc2c0f1b6e1b883c5cdfcc82d190eeafd6ccdf92936f51cd7afdb5b4781426"
GOLDEN_COMPACT_ID = "8c27c638a2ec69b19e8b44a349e93f8258f3ee3725c1269e236dc635f261c182"
LABEL_ARRAYS = ["bias", "thresholds", "slopes", "intercepts"]


def manifest_id(manifest: dict[str, Any]) -> str:
    """The id as the format states it, written a second time: SHA-256 of the manifest's rest."""
    rest = {key: value for key, value in manifest.items() if key != "id"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def npy(values: np.ndarray, *, allow_pickle: bool = False) -> bytes:
    stream = io.BytesIO()
    np.save(stream, values, allow_pickle=allow_pickle)
    return stream.getvalue()


def forge(
    path: Path,
    arrays: dict[str, np.ndarray | bytes] | None = None,
    edit: Callable[[dict[str, Any]], object] | None = None,
) -> Path:
    """Changes an artifact and makes all checksums right again, as a clever forger would."""
    manifest = json.loads((path / "manifest.json").read_text("utf-8"))
    for name, values in (arrays or {}).items():
        data = values if isinstance(values, bytes) else npy(values)
        (path / f"{name}.npy").write_bytes(data)
        entry = manifest["arrays"][name]
        entry["bytes"] = len(data)
        entry["sha256"] = hashlib.sha256(data).hexdigest()
        if not isinstance(values, bytes):
            entry["shape"] = list(values.shape)
            entry["dtype"] = values.dtype.str
    if edit:
        edit(manifest)
    manifest["id"] = manifest_id(manifest)
    (path / "manifest.json").write_text(json.dumps(manifest), "utf-8")
    return path


@pytest.fixture
def copied(artifact_path: Path, tmp_path: Path) -> Path:
    """A copy of the float32 artifact, to be damaged."""
    return shutil.copytree(artifact_path, tmp_path / "copied")


@pytest.fixture
def copied_compact(compact_path: Path, tmp_path: Path) -> Path:
    """A copy of the sparse8 artifact, to be damaged."""
    return shutil.copytree(compact_path, tmp_path / "copied")


@pytest.fixture(params=ROW_TYPES)
def copied_any(request: pytest.FixtureRequest) -> Path:
    """A copy of an artifact of each encoding, to be damaged."""
    return request.getfixturevalue("copied" if request.param == "float32" else "copied_compact")


@pytest.fixture(params=ROW_TYPES)
def any_artifact(request: pytest.FixtureRequest) -> Artifact:
    """The artifact in memory in each encoding."""
    name = "artifact" if request.param == "float32" else "compact_artifact"
    return request.getfixturevalue(name)


def with_array(artifact: Artifact, name: str, values: np.ndarray) -> Artifact:
    if name in ("groups", "keys", "entries"):
        return replace(artifact, index=replace(artifact.index, **{name: values}))
    return replace(artifact, **{name: values})


def refused(path: Path, file: str, *, match: str | None = None) -> None:
    """Loading fails with an error that names the file and says what ``match`` says, if given."""
    with pytest.raises(ArtifactError, match=match) as caught:
        load(path)
    assert str(path / file) in str(caught.value)


# --- round trip ---------------------------------------------------------------------------------


def test_round_trip(any_artifact, tmp_path):
    save(any_artifact, tmp_path / "saved")
    loaded = load(tmp_path / "saved")
    assert loaded.encoding == any_artifact.encoding
    for name, dtype in dtypes(loaded.encoding).items():
        assert loaded.array(name).dtype.str == dtype
        assert np.array_equal(loaded.array(name), any_artifact.array(name))
    assert list(loaded.taxonomy) == list(any_artifact.taxonomy)
    assert (loaded.training, loaded.data) == (any_artifact.training, any_artifact.data)
    assert loaded.path == (tmp_path / "saved").absolute()
    assert len(loaded.id) == 64


def test_golden_id(artifact_path):
    # Another id means that the format or the fixture has changed.
    assert load(artifact_path).id == GOLDEN_ID


def test_golden_id_of_the_compact_artifact(compact_path):
    assert load(compact_path).id == GOLDEN_COMPACT_ID


def test_files_are_those_of_the_format(artifact_path):
    files = sorted(file.name for file in artifact_path.iterdir())
    assert files == sorted(["manifest.json", *(f"{name}.npy" for name in ARRAYS)])
    manifest = json.loads((artifact_path / "manifest.json").read_text("utf-8"))
    assert manifest["format"] == "topiccore-artifact"
    assert manifest["format_version"] == 4
    assert manifest["encoding"] == "float32"
    assert manifest["scheme"] == reference.SCHEME
    assert manifest["id"] == manifest_id(manifest)
    for name, entry in manifest["arrays"].items():
        data = (artifact_path / f"{name}.npy").read_bytes()
        assert entry["bytes"] == len(data)
        assert entry["sha256"] == hashlib.sha256(data).hexdigest()


def test_the_same_saved_twice_has_the_same_id_and_bytes(artifact, artifact_path, tmp_path):
    identity = save(artifact, tmp_path / "again")
    assert identity == load(artifact_path).id
    for file in artifact_path.iterdir():
        assert (tmp_path / "again" / file.name).read_bytes() == file.read_bytes()


def test_a_loaded_artifact_saved_again_has_the_same_id(artifact_path, tmp_path):
    loaded = load(artifact_path)
    assert save(loaded, tmp_path / "again") == loaded.id


@pytest.mark.parametrize("name", [*ARRAYS, "training", "data", "taxonomy"])
def test_everything_counts_in_the_id(artifact, artifact_path, tmp_path, name):
    if name in ("training", "data"):
        changed = replace(artifact, **{name: {"other": 1}})
    elif name == "taxonomy":
        labels = list(artifact.taxonomy)
        labels[1] = replace(labels[1], scope="another scope")
        changed = replace(artifact, taxonomy=Taxonomy(labels))
    else:
        values = artifact.array(name).copy()
        if name == "groups":  # bucket 0x0001xxxx becomes 0x0000xxxx, or the other way round
            first = np.flatnonzero(values)[0]
            values[first - 1] = 1
        elif name == "entries":
            values[[0, 1]] = values[[1, 0]]
        else:
            used = np.flatnonzero(values)
            values.flat[used[0] if len(used) else 0] += 1
        changed = with_array(artifact, name, values)
    assert save(changed, tmp_path / "changed") != load(artifact_path).id


def test_arrays_are_mapped_and_read_only(copied_any):
    loaded = load(copied_any)
    for name in ARRAYS:
        values = loaded.array(name)
        assert isinstance(values.base, mmap.mmap)
        assert np.array_equal(np.load(copied_any / f"{name}.npy"), values)
        assert values.flags.c_contiguous
        with pytest.raises(ValueError, match="read-only"):
            values[0] = 0


def test_save_converts_types_and_layout(artifact, artifact_path, tmp_path):
    other = replace(
        artifact,
        index=Index(*(x.astype(np.int64) for x in vars(artifact.index).values())),
        rows=np.asfortranarray(artifact.rows.astype(np.float64)),
        bias=artifact.bias.astype(">f4"),
    )
    assert save(other, tmp_path / "converted") == load(artifact_path).id


def test_save_makes_folders_and_readable_files(artifact, tmp_path):
    path = tmp_path / "a" / "b" / "artifact"
    save(artifact, str(path))
    assert stat.S_IMODE(path.stat().st_mode) == 0o755
    assert load(str(path)).id == load(path).id


def test_a_relative_path_is_made_absolute(artifact_path, monkeypatch):
    monkeypatch.chdir(artifact_path.parent)
    assert load(artifact_path.name).path == artifact_path


def test_names_in_any_script(artifact, tmp_path):
    labels = [replace(label, name=f'{label.code} 東京 🚗 é\n"') for label in artifact.taxonomy]
    save(replace(artifact, taxonomy=Taxonomy(labels)), tmp_path / "names")
    assert list(load(tmp_path / "names").taxonomy) == labels


# --- the index ----------------------------------------------------------------------------------

BUCKETS = st.lists(
    st.integers(0, 40) | st.integers(0, 2**32 - 1) | st.integers(1, 9).map(lambda n: 2**32 - n),
    max_size=40,
    unique=True,
)


@given(plain=BUCKETS, scaled=BUCKETS, absent=BUCKETS)
def test_index_finds_every_bucket(artifact, plain, scaled, absent):
    index, plain_rows, scaled_rows = build_index(
        np.array(plain, np.uint32), np.array(scaled, np.uint32)
    )
    rows = [*plain_rows.tolist(), *scaled_rows.tolist()]
    assert sorted(rows) == list(range(len(plain) + len(scaled)))
    made = replace(
        artifact,
        index=index,
        rows=np.repeat(np.arange(len(rows), dtype=np.float32), 10).reshape(-1, 10),
    )
    plain_row = dict(zip(plain, plain_rows.tolist(), strict=True))
    scaled_row = dict(zip(scaled, scaled_rows.tolist(), strict=True))
    for bucket in {*plain, *scaled, *absent}:
        found = [None if row is None else row[0] for row in reference.find_rows(made, bucket)]
        assert found == [plain_row.get(bucket), scaled_row.get(bucket)]


@pytest.mark.parametrize(
    ("plain", "scaled", "name"), [([1, 1], [], "plain"), ([], [2, 2], "scaled")]
)
def test_index_refuses_a_bucket_given_twice(plain, scaled, name):
    with pytest.raises(ValueError, match=f"twice in {name}"):
        build_index(np.array(plain, np.uint32), np.array(scaled, np.uint32))


# --- damage -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ARRAYS)
def test_truncated_array(copied_any, name):
    file = copied_any / f"{name}.npy"
    data = file.read_bytes()
    for size in (0, 5, 64, 128, len(data) // 2, len(data) - 1):
        file.write_bytes(data[:size])
        refused(copied_any, file.name, match=f"{size} bytes, the manifest says {len(data)}")
        with pytest.raises(ArtifactError, match=f"{name}.npy"):
            load(copied_any, verify=False)
    file.write_bytes(data + b"\0")
    refused(copied_any, file.name, match="bytes, the manifest says")


@pytest.mark.parametrize("name", ARRAYS)
def test_flipped_bit_of_an_array(copied_any, name):
    file = copied_any / f"{name}.npy"
    data = file.read_bytes()
    for place in [*range(0, min(len(data), 2000), 41), len(data) - 1]:
        damaged = bytearray(data)
        damaged[place] ^= 1 << place % 8
        file.write_bytes(damaged)
        refused(copied_any, file.name, match="SHA-256")


def test_flipped_bit_of_the_manifest(copied_any):
    file = copied_any / "manifest.json"
    data = file.read_bytes()
    for place in range(0, len(data), 3):
        damaged = bytearray(data)
        damaged[place] ^= 1
        file.write_bytes(damaged)
        refused(copied_any, file.name)


def test_truncated_manifest(copied_any):
    file = copied_any / "manifest.json"
    data = file.read_bytes()
    for size in range(0, len(data) - 1, 7):
        file.write_bytes(data[:size])
        refused(copied_any, file.name, match="not JSON|not UTF-8")


@pytest.mark.parametrize("file", ["manifest.json", *(f"{name}.npy" for name in ARRAYS)])
def test_missing_file(copied_any, file):
    (copied_any / file).unlink()
    refused(copied_any, file, match="No such file")


@pytest.mark.parametrize("file", ["manifest.json", *(f"{name}.npy" for name in ARRAYS)])
def test_folder_instead_of_a_file(copied_any, file):
    (copied_any / file).unlink()
    (copied_any / file).mkdir()
    refused(copied_any, file)


def test_arrays_exchanged(copied):
    bias, slopes = (copied / "bias.npy").read_bytes(), (copied / "slopes.npy").read_bytes()
    (copied / "bias.npy").write_bytes(slopes)
    (copied / "slopes.npy").write_bytes(bias)
    refused(copied, "bias.npy", match="SHA-256")


def test_not_verified_but_still_checked(copied):
    assert load(copied, verify=False).id == load(copied).id
    data = bytearray((copied / "bias.npy").read_bytes())
    data[-1] ^= 1
    (copied / "bias.npy").write_bytes(data)
    refused(copied, "bias.npy", match="SHA-256")
    load(copied, verify=False)
    data[-4:] = np.float32(np.nan).tobytes()
    (copied / "bias.npy").write_bytes(data)
    with pytest.raises(ArtifactError, match=r"bias\.npy: value nan at 9"):
        load(copied, verify=False)


def test_path_that_does_not_exist(tmp_path):
    refused(tmp_path / "nowhere", "manifest.json", match="No such file.*an artifact")


def test_empty_folder(tmp_path):
    refused(tmp_path, "manifest.json", match="No such file.*an artifact")


def test_path_that_is_a_file(tmp_path):
    (tmp_path / "file").write_text("hello")
    refused(tmp_path / "file", "manifest.json", match="Not a directory.*an artifact")


@pytest.mark.parametrize(
    ("content", "match"),
    [
        pytest.param(b"", "not JSON", id="empty"),
        pytest.param(b"hello", "not JSON", id="text"),
        pytest.param(b'{"format": "topiccore-artifact"', "not JSON", id="cut"),
        pytest.param(b"\xff\xfe{}", "not UTF-8", id="not UTF-8"),
        pytest.param(b"\x80\x04N.", "not UTF-8", id="pickle"),
        pytest.param(b"[" * 100_000, "not JSON", id="deep"),
        pytest.param(b"[" * 100_000 + b"]" * 100_000, "not JSON", id="deep and closed"),
        pytest.param(b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "not JSON", id="deep objects"),
        pytest.param(b"9" * 10_000, "not JSON", id="huge number"),
        pytest.param(b"{}", "not the manifest", id="empty object"),
        pytest.param(b"[]", "not the manifest", id="list"),
        pytest.param(b"null", "not the manifest", id="null"),
        pytest.param(b'"topiccore-artifact"', "not the manifest", id="string"),
        pytest.param(b'{"format": "safetensors"}', "not the manifest", id="foreign"),
        pytest.param(b'{"format": "topiccore-artifact"}', "format_version is None", id="bare"),
    ],
)
def test_foreign_manifest(copied, content, match):
    (copied / "manifest.json").write_bytes(content)
    refused(copied, "manifest.json", match=match)


def test_deep_json_inside_the_manifest(copied):
    # Somewhere near the limit it can be read, but perhaps not written again for its id.
    file = copied / "manifest.json"
    manifest = json.loads(file.read_text("utf-8")) | {"training": {"deep": "here"}}
    text = json.dumps(manifest)
    for depth in [100, *range(800, 1010), 10_000]:
        file.write_text(text.replace('"here"', "[" * depth + "]" * depth), "utf-8")
        refused(copied, file.name, match="edited|not JSON")


@pytest.mark.parametrize("key", ["labels", "training", "data", "arrays"])
def test_edited_manifest(copied, key):
    file = copied / "manifest.json"
    manifest = json.loads(file.read_text("utf-8"))
    manifest[key] = {**manifest[key], "more": 1} if key != "labels" else manifest[key][:-1]
    file.write_text(json.dumps(manifest), "utf-8")
    refused(copied, "manifest.json", match="edited")


def test_a_manifest_written_in_another_style_is_the_same(copied, artifact_path):
    forge(copied)
    text = (copied / "manifest.json").read_text("utf-8")
    assert text != (artifact_path / "manifest.json").read_text("utf-8")
    assert load(copied).id == load(artifact_path).id


# --- forgeries: all checksums are right ---------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("format", "other"),
        ("format", None),
        ("format_version", 0),
        ("format_version", 3),
        ("format_version", 5),
        ("format_version", "4"),
        ("format_version", [4]),
        ("scheme", "fold14-fnv1a-fmix64-1"),
        ("scheme", None),
        ("ngrams", None),
        ("ngrams", [3]),
        ("ngrams", [0, 3]),
        ("ngrams", [4, 3]),
        ("ngrams", [3, 7]),
        ("ngrams", [3, True]),
        ("ngrams", [15, 17]),
        ("encoding", "float16"),
        ("encoding", {}),
    ],
)
def test_another_format(copied, key, value):
    forge(copied, edit=lambda manifest: manifest.update({key: value}))
    refused(copied, "manifest.json", match="not the manifest" if key == "format" else f"{key} is")


def test_extra_key(copied):
    forge(copied, edit=lambda manifest: manifest.update(extra=1))
    refused(copied, "manifest.json", match="missing or unknown keys: extra$")


@pytest.mark.parametrize("key", ["labels", "arrays", "training", "data"])
def test_missing_key(copied, key):
    forge(copied, edit=lambda manifest: manifest.pop(key))
    refused(copied, "manifest.json", match=f"missing or unknown keys: {key}$")


def test_missing_id(copied):
    manifest = json.loads((copied / "manifest.json").read_text("utf-8"))
    del manifest["id"]
    (copied / "manifest.json").write_text(json.dumps(manifest), "utf-8")
    refused(copied, "manifest.json", match="missing or unknown keys: id$")


@pytest.mark.parametrize(
    "labels",
    [
        *(None, 5, "labels", [], {}, [1], [None], [[]], ["V"], [{}], [{"code": "V"}]),
        [{"code": "V", "name": "Vehicles", "topic": None, "scope": "", "extra": 1}],
        [{"code": "V", "name": "Vehicles", "topic": "T", "scope": ""}],
        [{"code": [], "name": "Vehicles", "topic": None, "scope": ""}],
        [{"code": "V", "name": "Vehicles", "topic": [], "scope": ""}],
        [{"code": "V", "name": "Vehicles", "topic": None, "scope": ""}] * 2,
    ],
)
def test_forged_labels(copied, labels):
    forge(copied, edit=lambda manifest: manifest.update(labels=labels))
    refused(copied, "manifest.json", match="labels: ")


@pytest.mark.parametrize(
    "change", [{"code": 5}, {"code": None}, {"name": 5}, {"name": None}, {"scope": 5}]
)
def test_forged_label_with_wrong_types(copied, change):
    forge(copied, edit=lambda manifest: manifest["labels"][-1].update(change))
    refused(copied, "manifest.json", match="labels")


@pytest.mark.parametrize("key", ["training", "data"])
@pytest.mark.parametrize("value", [None, 5, "text", [1]])
def test_forged_figures(copied, key, value):
    forge(copied, edit=lambda manifest: manifest.update({key: value}))
    refused(copied, "manifest.json", match=key)


@pytest.mark.parametrize("change", ["fewer", "more", "renamed"])
def test_labels_that_do_not_fit_the_arrays(copied, change):
    def edit(manifest):
        if change == "fewer":
            manifest["labels"].pop()
        elif change == "more":
            manifest["labels"].append({"code": "X", "name": "X", "topic": None, "scope": ""})

    forge(copied, edit=edit)
    if change == "renamed":
        forge(copied, edit=lambda manifest: manifest["labels"][0].update(name="Other"))
        assert load(copied).taxonomy[0].name == "Other"
    else:
        refused(copied, "bias.npy", match="for (9|11) labels")


@pytest.mark.parametrize("arrays", [None, 5, [], {}, "arrays", {"rows": {}}])
def test_forged_array_table(copied, arrays):
    forge(copied, edit=lambda manifest: manifest.update(arrays=arrays))
    refused(copied, "manifest.json", match="arrays are not")


def test_array_table_with_one_more(copied):
    forge(copied, edit=lambda manifest: manifest["arrays"].update(more={}))
    refused(copied, "manifest.json", match="arrays are not")


@pytest.mark.parametrize(
    "entry", [None, 5, [], {}, {"file": "../bias.npy"}, {"file": "slopes.npy"}]
)
def test_forged_array_entry(copied, entry):
    forge(copied, edit=lambda manifest: manifest["arrays"].update(bias=entry))
    refused(copied, "manifest.json", match=r"arrays\.bias\.file is not 'bias\.npy'")


@pytest.mark.parametrize("key", ["bytes", "sha256", "dtype", "shape"])
@pytest.mark.parametrize("value", [None, 0, "", [], [10, 1], "<f8", "f4", ["10"]])
def test_forged_array_facts(copied, key, value):
    forge(copied, edit=lambda manifest: manifest["arrays"]["bias"].update({key: value}))
    refused(copied, "bias.npy")


@pytest.mark.parametrize("name", LABEL_ARRAYS)
@pytest.mark.parametrize("shape", [(), (1,), (9,), (11,), (10, 1), (1, 10)])
def test_wrong_shape_of_an_array_of_labels(copied, name, shape):
    forge(copied, {name: np.ones(shape, "<f4")})
    refused(copied, f"{name}.npy", match=r"shape \(.*\) for 10 labels")


@pytest.mark.parametrize("shape", [(), (30,), (30, 9), (30, 11), (30, 10, 1), (15, 20)])
def test_wrong_shape_of_rows(copied, shape):
    forge(copied, {"rows": np.ones(shape, "<f4")})
    refused(copied, "rows.npy", match="for 10 labels")


@pytest.mark.parametrize("rows", [1, 29, 31])
def test_other_number_of_rows_than_the_index_has(copied, rows):
    forge(copied, {"rows": np.ones((rows, 10), "<f4")})
    refused(copied, "entries.npy", match=r"not those of rows\.npy")


@pytest.mark.parametrize("name", ARRAYS)
@pytest.mark.parametrize(
    "dtype", ["<f8", "<f2", "<i4", "<u8", ">f4", ">u4", ">u2", "|S4", "<c8", "|b1"]
)
def test_wrong_dtype(copied_any, name, dtype):
    with np.errstate(all="ignore"):  # 2**16 is no half, infinity is no integer
        forge(copied_any, {name: np.abs(load(copied_any).array(name)).astype(dtype)})
    refused(copied_any, f"{name}.npy", match="dtype")


def test_wrong_dtype_tells_the_right_one(copied, artifact):
    forge(copied, {"bias": artifact.bias.astype("<f8")})
    refused(copied, "bias.npy", match="dtype is <f8, expected <f4")


@pytest.mark.parametrize("name", ARRAYS)
def test_object_array_is_not_unpickled(copied_any, name):
    forge(copied_any, {name: npy(np.array([Trap()], dtype=object), allow_pickle=True)})
    refused(copied_any, f"{name}.npy", match=r"dtype|no \.npy")


@pytest.mark.parametrize("name", ARRAYS)
def test_bare_pickle_is_not_unpickled(copied_any, name):
    forge(copied_any, {name: b"cbuiltins\nexit\n(tR."})
    refused(copied_any, f"{name}.npy", match=r"no \.npy")


class Trap:
    """Ends the test when it is unpickled."""

    def __reduce__(self):
        return pytest.exit, ("something was unpickled",)


def test_fortran_order(copied, artifact):
    forge(copied, {"rows": np.asfortranarray(artifact.rows)})
    refused(copied, "rows.npy", match="in C order")


def with_header(header: str) -> bytes:
    data = header.encode()
    return b"\x93NUMPY\x02\x00" + len(data).to_bytes(4, "little") + data + bytes(40)


HEADER = "{'descr': %s, 'fortran_order': False, 'shape': %s}\n"


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"hello, this is no array at all", id="text"),
        pytest.param(b"\x93NUMPY", id="magic only"),
        pytest.param(b"\x93NUMPY\x09\x00\x04\x00\x00\x00aaaa", id="version 9"),
        pytest.param(with_header(""), id="empty header"),
        pytest.param(with_header("1 +"), id="header is no Python"),
        pytest.param(with_header("{}"), id="header without keys"),
        pytest.param(with_header(HEADER % ("'<f4'", "(-10,)")), id="negative shape"),
        pytest.param(with_header(HEADER % ("'<f4'", "(11,)")), id="more than there is"),
        pytest.param(with_header(HEADER % ("'O'", "(10,)")), id="objects"),
        pytest.param(with_header(HEADER % ("'V0'", "(10,)")), id="nothing"),
        pytest.param(with_header(HEADER % ("5", "(10,)")), id="dtype is no dtype"),
    ],
)
def test_forged_npy(copied, data):
    forge(copied, {"bias": data})
    refused(copied, "bias.npy")


def npz() -> bytes:
    stream = io.BytesIO()
    np.savez(stream, bias=np.ones(10, "<f4"))
    return stream.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="EOFError: empty file"),
        pytest.param(npz(), id="AttributeError: npz"),
        pytest.param(with_header("(" * 5000), id="TokenError: open brackets"),
        pytest.param(with_header("-" * 9000 + "1"), id="MemoryError: deep header"),
        pytest.param(with_header("{[]: 1}"), id="TypeError: unhashable key"),
        pytest.param(with_header("{1: 2, 'a': 3}"), id="TypeError: keys of two types"),
        pytest.param(with_header(HEADER % ("'<f4'", "(True,)")), id="TypeError: shape of bool"),
        pytest.param(with_header(HEADER % ("'<f4'", f"({2**70},)")), id="OverflowError: shape"),
    ],
)
def test_forged_npy_with_other_errors(copied, data):
    forge(copied, {"bias": data})
    refused(copied, "bias.npy")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((name, np.nan) for name in LABEL_ARRAYS),
        *(
            (name, value)
            for name in ("bias", "slopes", "intercepts")
            for value in (np.inf, -np.inf)
        ),
        ("slopes", 0),
        ("slopes", -0.0),
        ("slopes", -1),
    ],
)
def test_forged_values(copied, artifact, name, value):
    values = getattr(artifact, name).copy()
    values[3] = value
    forge(copied, {name: values})
    refused(copied, f"{name}.npy", match=r"value \S+ at 3")


@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_infinite_thresholds_are_allowed(copied, artifact, value):
    everywhere = np.full_like(artifact.thresholds, value)
    forge(copied, {"thresholds": everywhere, "beside": everywhere})
    emitted = TopicModel(load(copied)).score("used honda")
    assert len(emitted) == (0 if value > 0 else len(artifact.taxonomy))


# --- forged indexes -----------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(), (0,), (2,), (65536,), (65538,), (65537, 1)])
def test_groups_of_another_shape(copied_any, shape):
    forge(copied_any, {"groups": np.zeros(shape, "<u4")})
    refused(copied_any, "groups.npy", match="shape")


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda groups: groups + 1, id="begin at 1"),
        pytest.param(lambda groups: np.minimum(groups, groups[-1] - 1), id="end early"),
        pytest.param(lambda groups: groups * 2, id="end late"),
        pytest.param(lambda groups: groups[::-1], id="descend"),
        pytest.param(lambda groups: groups * 0, id="zeros"),
    ],
)
def test_groups_that_do_not_divide_the_keys(copied_any, change):
    forge(copied_any, {"groups": change(load(copied_any).index.groups).astype("<u4")})
    refused(copied_any, "groups.npy", match=r"does not divide keys\.npy")


def test_one_group_that_ends_outside(copied_any):
    groups = load(copied_any).index.groups.copy()
    groups[1000] = 2**32 - 1
    forge(copied_any, {"groups": groups})
    refused(copied_any, "groups.npy", match=r"does not divide keys\.npy")


@pytest.mark.parametrize("name", ["keys", "entries"])
@pytest.mark.parametrize("change", ["fewer", "more", "none", "two dimensions", "no dimension"])
def test_keys_and_entries_of_another_shape(copied_any, name, change):
    values = load(copied_any).array(name)
    changed = {
        "fewer": values[:-1],
        "more": np.append(values, values[-1:]),
        "none": values[:0],
        "two dimensions": values[:, None],
        "no dimension": values[0].reshape(()),
    }[change]
    forge(copied_any, {name: changed})
    with pytest.raises(ArtifactError, match=r"(groups|keys|entries)\.npy: "):
        load(copied_any)


@pytest.mark.parametrize("flags", [0, 1, 2, 3])
@pytest.mark.parametrize("row", [1, 29, 30, 31, 2**20, 2**29, 2**30 - 1])
def test_forged_entry(copied, artifact, row, flags):
    entries = artifact.index.entries.copy()
    was = int(entries[-1])
    entries[-1] = row << 2 | flags
    forge(copied, {"entries": entries})
    size, old_size = (flags & 1) + (flags >> 1), (was & 1) + (was >> 1 & 1)
    if 0 < size == old_size and row + size <= 30:
        load(copied)  # some row twice, none outside
    else:
        refused(copied, "entries.npy", match="not those of rows")


@pytest.mark.parametrize("place", [0, 1, 5, -1])
@pytest.mark.parametrize("value", [2**32 - 1, 10_000, 0])
def test_forged_entry_of_the_compact_artifact(copied_compact, place, value):
    entries = load(copied_compact).index.entries.copy()
    first, last = entries[[0, -1]]
    entries[place] = value
    forge(copied_compact, {"entries": entries})
    if (np.diff(entries.astype(int)) >= 0).all() and (first, last) == tuple(entries[[0, -1]]):
        load(copied_compact)
    else:
        with pytest.raises(ArtifactError, match=r"entries\.npy: it does not divide rows\.npy"):
            load(copied_compact)


def assert_forged_scores(path: Path) -> None:
    forged = TopicModel(load(path))
    queries = ["used honda civic cheap hotel", "red dress running shoes cafe", "no such words"]
    logits = forged.logits(queries)
    assert np.array_equal(forged.logits(queries), logits, equal_nan=True)
    assert np.array_equal(logits[2], forged.artifact.bias)
    for query in queries:
        assert len(forged.score(query, min_score=0)) <= len(forged.artifact.bias)
        with np.errstate(all="ignore"):
            assert reference.logits(forged.artifact, query).shape == (10,)


CELLS = [0, 1, 2, 3, 255, 2**16 - 1, 0x7F80, 0x7FC0, 0xFF80, 0x7FFF, 5 << 2, 5 << 2 | 2, 9 << 2]


@settings(max_examples=300)
@given(
    changes=st.lists(
        st.tuples(st.integers(0, 10**6), st.sampled_from(CELLS) | st.integers(0, 2**16 - 1)),
        min_size=1,
        max_size=6,
    )
)
def test_forged_cells_never_crash(compact_path, tmp_path_factory, changes):
    # No check on loading reads the cells: the kernel is safe with any.
    path = tmp_path_factory.mktemp("forged") / "artifact"
    shutil.copytree(compact_path, path)
    cells = load(path).rows.copy()
    for place, value in changes:
        cells[place % len(cells)] = value
    forge(path, {"rows": cells})
    assert_forged_scores(path)
    shutil.rmtree(path.parent)


@settings(max_examples=100)
@given(
    changes=st.lists(
        st.tuples(
            st.sampled_from(["groups", "keys", "entries"]),
            st.integers(0, 10**6),
            st.sampled_from([0, 1, 2, 29, 2**16 - 1]) | st.integers(0, 2**16 - 1),
        ),
        min_size=1,
        max_size=3,
    ),
    is_compact=st.booleans(),
)
def test_forged_index_never_crashes(
    artifact_path, compact_path, tmp_path_factory, changes, is_compact
):
    path = tmp_path_factory.mktemp("forged") / "artifact"
    shutil.copytree(compact_path if is_compact else artifact_path, path)
    arrays = {name: load(path).array(name).copy() for name in ("groups", "keys", "entries")}
    for name, place, value in changes:
        arrays[name][place % len(arrays[name])] = value
    forge(path, arrays)
    try:
        load(path)
    except ArtifactError as error:
        if not any(str(path / f"{name}.npy") in str(error) for name in arrays):
            raise
    else:
        assert_forged_scores(path)
    finally:
        shutil.rmtree(path.parent)


# --- saving fails -------------------------------------------------------------------------------


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file()
    }


def test_save_does_not_overwrite_unless_told(copied, artifact):
    before = contents(copied.parent)
    with pytest.raises(ArtifactError, match=f"{copied}: exists$"):
        save(replace(artifact, training={}), copied)
    assert contents(copied.parent) == before


def test_save_overwrites_when_told(copied, make_artifact, taxonomy):
    (copied / "notes.txt").write_text("of the old artifact")
    other = make_artifact(taxonomy, seed=8)
    identity = save(other, copied, overwrite=True)
    assert load(copied).id == identity != GOLDEN_ID
    assert np.array_equal(load(copied).rows, other.rows)
    assert [file.name for file in copied.parent.iterdir()] == [copied.name]
    assert not (copied / "notes.txt").exists()


def test_overwrite_where_nothing_is(artifact, tmp_path):
    assert save(artifact, tmp_path / "new", overwrite=True) == load(tmp_path / "new").id


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("kind", ["empty folder", "folder", "file"])
def test_save_never_overwrites_what_is_no_artifact(artifact, tmp_path, kind, overwrite):
    path = tmp_path / "mine"
    if kind == "file":
        path.write_text("hello")
    else:
        path.mkdir()
        if kind == "folder":
            (path / "thesis.txt").write_text("hello")
    before = contents(tmp_path)
    with pytest.raises(ArtifactError, match=f"{path}: exists"):
        save(artifact, path, overwrite=overwrite)
    assert contents(tmp_path) == before
    assert [file.name for file in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("calls", [1, 4, 8])
def test_disk_error_leaves_nothing_behind(copied, artifact, monkeypatch, overwrite, calls):
    path = copied if overwrite else copied.parent / "new"
    before = contents(copied.parent)
    real_write, count = artifact_module._write_array, 0

    def full_disk(file, values):
        nonlocal count
        count += 1
        if count == calls:
            Path(file).write_bytes(b"\x93NUM")
            raise OSError(28, "No space left on device")
        real_write(file, values)

    monkeypatch.setattr(artifact_module, "_write_array", full_disk)
    with pytest.raises(OSError, match="No space left"):
        save(artifact, path, overwrite=overwrite)
    assert count == calls
    assert contents(copied.parent) == before
    assert [file.name for file in copied.parent.iterdir()] == [copied.name]


@pytest.mark.parametrize("calls", [1, 2])
def test_failed_rename_keeps_the_old_artifact(copied, artifact, monkeypatch, calls):
    before = contents(copied.parent)
    real_rename, count = os.rename, 0

    def rename(source, target):
        nonlocal count
        count += 1
        if count == calls:
            raise OSError(5, "Input/output error")
        real_rename(source, target)

    monkeypatch.setattr(artifact_module.os, "rename", rename)
    with pytest.raises(OSError, match="Input/output"):
        save(replace(artifact, training={}), copied, overwrite=True)
    assert contents(copied.parent) == before


def wrong_artifacts() -> list[Any]:
    def changed(
        name: str, change: Callable[[np.ndarray], np.ndarray]
    ) -> Callable[[Artifact], Artifact]:
        def make(artifact: Artifact) -> Artifact:
            return with_array(artifact, name, np.asarray(change(artifact.array(name).copy())))

        return make

    return [
        pytest.param(changed("rows", lambda x: x[:, :-1]), "rows", id="rows of fewer labels"),
        pytest.param(changed("rows", lambda x: x[:-1]), "entries", id="fewer rows"),
        pytest.param(changed("rows", lambda x: x[:0]), "entries", id="no rows"),
        pytest.param(changed("rows", lambda x: x * np.nan), "rows", id="rows of NaN"),
        pytest.param(changed("rows", lambda x: x + np.inf), "rows", id="infinite rows"),
        pytest.param(changed("bias", lambda x: x * np.nan), "bias", id="bias of NaN"),
        pytest.param(changed("bias", lambda x: x[:-1]), "bias", id="shorter bias"),
        pytest.param(changed("thresholds", lambda x: x * np.nan), "thresholds", id="thresholds"),
        pytest.param(changed("beside", lambda x: x - 1), "beside", id="below the thresholds"),
        pytest.param(changed("beside", lambda x: x * np.nan), "beside", id="beside of NaN"),
        pytest.param(changed("slopes", lambda x: -x), "slopes", id="negative slopes"),
        pytest.param(changed("intercepts", lambda x: x / 0), "intercepts", id="intercepts"),
        pytest.param(changed("bends", lambda x: x * np.nan), "bends", id="bends of NaN"),
        pytest.param(changed("bends", lambda x: x[:1]), "bends", id="knees alone"),
        pytest.param(changed("bends", lambda x: 0 * x - 1), "bends", id="scores that fall"),
        pytest.param(changed("groups", lambda x: x[:-1]), "groups", id="a group less"),
        pytest.param(changed("keys", lambda x: x[:-1]), "groups", id="a key less"),
        pytest.param(changed("entries", lambda x: x * 0), "entries", id="empty entries"),
    ]


@pytest.mark.parametrize(("make", "name"), wrong_artifacts())
@pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning")
def test_save_refuses_a_wrong_artifact(artifact, tmp_path, make, name):
    with pytest.raises(ArtifactError, match=name):
        save(make(artifact), tmp_path / "wrong")
    assert list(tmp_path.iterdir()) == []


def test_save_refuses_a_taxonomy_of_another_size(artifact, tmp_path):
    one = Taxonomy([TaxonomyLabel("V", "Vehicles", None)])
    with pytest.raises(ArtifactError, match="for 1 labels"):
        save(replace(artifact, taxonomy=one), tmp_path / "wrong")
    assert list(tmp_path.iterdir()) == []


def test_save_of_figures_that_are_no_json_leaves_nothing_behind(artifact, tmp_path):
    with pytest.raises(TypeError, match="JSON"):
        save(replace(artifact, training={"when": object()}), tmp_path / "wrong")
    assert list(tmp_path.iterdir()) == []
