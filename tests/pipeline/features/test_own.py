"""Features of extractors from outside songbag: declared, loaded in the contained process, and checked."""

from __future__ import annotations

import json
import statistics
from pathlib import Path

import numpy as np
import pytest

from songbag_pipeline import ExtractConfig, extract, features_of, window_features
from songbag_pipeline.errors import SongError
from songbag_pipeline.features.own import _checked
from songbag_pipeline.songs.containment import try_features
from songbag_store import FeatureSpec, SongStore
from songbag_store.errors import ClusterError, SpecError, SpecMismatch
from songbag_store.format.failure_codes import REMEDIES
from tests.support.audio import chirp, write
from tests.support.extractors import Pieces, levels

NAME = "tests.support.extractors"
LEVELS = FeatureSpec.custom(f"{NAME}:levels", options={"power": 3}, window_s=0.5)

MODULE = """
import numpy as np, songbag

@songbag.extractor(sample_rate_hz=8000, shape=(1, 1), version="1")
def mean(windows):
    return windows.mean(axis=1)[:, None, None] + {added}
"""


def test_the_spec_holds_all_that_decides_the_numbers() -> None:
    assert (LEVELS.kind, LEVELS.sample_rate_hz, LEVELS.window_shape, LEVELS.encoding) == (
        "own",
        8000,
        (2, 1),
        "float32",
    )
    assert (LEVELS.extractor, LEVELS.extractor_version) == (f"{NAME}:levels", "1")
    assert LEVELS.in_words() == f"2 x 1 by {NAME}:levels version 1 (power=3), 8,000 Hz, float32"
    again = FeatureSpec.from_dict(LEVELS.to_dict())
    assert (again, again.fingerprint) == (LEVELS, LEVELS.fingerprint)
    others = [
        FeatureSpec.custom(f"{NAME}:levels", options={"power": 2}, window_s=0.5),
        FeatureSpec.custom(f"{NAME}:Pieces", window_s=0.5),
        FeatureSpec(**LEVELS.to_dict() | {"extractor_sha256": "0" * 64}),
        FeatureSpec(**LEVELS.to_dict() | {"extractor_version": "2"}),
    ]
    assert len({LEVELS.fingerprint, *(one.fingerprint for one in others)}) == 5
    assert FeatureSpec(**LEVELS.to_dict() | {"n_fft": 512}).fingerprint == LEVELS.fingerprint


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("tests.support.nowhere:levels", "is not there"),
        (f"{NAME}:nothing", "has no function 'nothing'"),
        (f"{NAME}:undeclared", "does not declare what it takes and gives"),
        (f"{NAME}:LOUD", "has no function 'LOUD'"),
        (":levels", "cannot be imported"),
        ("statistics:mean", rf"does not declare what it takes and gives \(it is {statistics.__file__}\)"),
    ],
)
def test_what_is_no_extractor_is_refused_by_name(name: str, says: str) -> None:
    with pytest.raises(SpecError, match=says):
        FeatureSpec.custom(name)


def test_options_are_json_values_and_numbers_of_numpy() -> None:
    given = FeatureSpec.custom(f"{NAME}:levels", options={"power": np.int64(3)}, window_s=0.5)
    assert given.fingerprint == LEVELS.fingerprint
    for wrong in ({"power": {1, 2}}, {"power": Path("x")}, {"power": np.ones(2)}, ["power=3"]):
        with pytest.raises(SpecError, match=r"no mapping|not JSON values"):
            FeatureSpec.custom(f"{NAME}:levels", options=wrong)  # type: ignore[arg-type]


def test_a_number_that_the_extractor_declares_is_not_left_out_in_silence() -> None:
    rate = LEVELS.sample_rate_hz
    assert FeatureSpec.custom(f"{NAME}:levels", sample_rate_hz=rate).sample_rate_hz == rate
    for name, value in (("sample_rate_hz", rate + 1), ("kind", "mfcc"), ("own_step", 0.5)):
        with pytest.raises(SpecError, match=f"{name}: is {value!r}, and '{NAME}:levels' declares"):
            FeatureSpec.custom(f"{NAME}:levels", **{name: value})
    with pytest.raises(SpecError, match=f"n_mfcc: decides nothing for features of {NAME}:levels"):
        FeatureSpec.custom(f"{NAME}:levels", n_mfcc=20)


def test_a_module_that_is_sent_is_not_another_one_of_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that is installed is found first, here and on the workers."""
    for folder, added in (("installed", 5), ("code", 1)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "twice_there.py").write_text(MODULE.format(added=added))
    monkeypatch.syspath_prepend(str(tmp_path / "installed"))
    spec = FeatureSpec.custom("twice_there:mean", window_s=0.5)
    upload = (str(tmp_path / "code" / "twice_there.py"),)
    write(tmp_path / "songs" / "a.wav", chirp(1.0, 8000), 8000)
    with pytest.raises(SpecError, match=r"upload: .*is another one here than twice_there\.py"):
        extract(tmp_path / "songs", tmp_path / "store", spec, ExtractConfig(upload=upload))
    assert not (tmp_path / "store").exists()


def test_an_array_whose_mask_hides_nothing_is_an_array() -> None:
    checked = _checked(np.ma.ones((1, 2, 1)), 1, LEVELS)
    assert type(checked) is np.ndarray


DECLARED = """
import numpy as np, songbag

@songbag.extractor(**{"sample_rate_hz": 8000, "shape": (1, 1), "version": "1"} | {DECLARED})
def mean(windows):
    return windows.mean(axis=1)[:, None, None]
"""

SHAPES = (
    "(12,)",
    "12",
    "(1,1,1)",
    "None",
    "'ab'",
    "(0,1)",
    "(-1,1)",
    "(1.0,1)",
    "(True,1)",
    "(float('nan'),1)",
    "{1,2}",
)


def declared(folder: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> FeatureSpec:
    """Return the spec of an extractor that declares these values, as a user writes them."""
    name = f"own_{abs(hash(text))}"
    (folder / f"{name}.py").write_text(DECLARED.replace("{DECLARED}", f"dict({text})"))
    monkeypatch.chdir(folder)
    return FeatureSpec.custom(f"{name}:mean")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        *(
            (f"shape={shape}", r"features 'own_\d+:mean': it declares the shape .*\n.*Give \(C, T\) of a window")
            for shape in SHAPES
        ),
        *((f"version={version}", "it declares the version") for version in ("1", "None", "b'1'", "'\\udcff'")),
        *(
            (f"sample_rate_hz={rate}", "sample_rate_hz: is")
            for rate in ("8000.0", "float('nan')", "-1", "True", "'8000'")
        ),
        *((f"step={step}", "own_step: is") for step in ("float('nan')", "-1", "0", "True", "'0.5'")),
    ],
)
def test_what_an_extractor_declares_is_refused_where_it_does_not_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, says: str
) -> None:
    with pytest.raises(SpecError, match=says) as caught:
        declared(tmp_path, monkeypatch, text)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("text", ["shape=np.array([1, 1])", "shape=[1, np.int64(1)]", "sample_rate_hz=np.int32(8000)"])
def test_numbers_of_numpy_are_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    spec = declared(tmp_path, monkeypatch, text)
    assert spec == FeatureSpec.from_dict(json.loads(json.dumps(spec.to_dict())))
    assert (spec.window_shape, spec.sample_rate_hz) == ((1, 1), 8000)


@pytest.mark.parametrize("texts", [["power"], ["=1"], ["po wer=1"], ["a=1", "a=2"]])
def test_parameters_that_are_none_are_refused(texts: list[str]) -> None:
    with pytest.raises(SpecError, match="KEY=VALUE"):
        FeatureSpec(**LEVELS.to_dict() | {"extractor_options": tuple(texts)})


def test_parameters_are_kept_in_one_form() -> None:
    texts = ("b=[1,  2]", "a=text", "c=true")
    spec = FeatureSpec(**LEVELS.to_dict() | {"extractor_options": texts})
    assert spec.extractor_options == ('a="text"', "b=[1, 2]", "c=true")


def test_features_of_another_kind_name_no_extractor() -> None:
    with pytest.raises(SpecError, match="extractor"):
        FeatureSpec(extractor_options=("power=2",))
    with pytest.raises(SpecError, match="extractor"):
        FeatureSpec(kind="own")


def test_a_function_and_an_object_get_blocks_of_windows() -> None:
    samples = chirp(3.0, 8000)[:, 0].astype(np.float32)
    blocks = np.lib.stride_tricks.sliding_window_view(samples, 4000)[::2000]
    np.testing.assert_array_equal(window_features(samples, LEVELS), levels(blocks, power=3))
    spec = FeatureSpec.custom(f"{NAME}:Pieces", options={"scale": 2.0}, window_s=0.5)
    expected = np.stack(Pieces(2.0)(blocks)).astype(np.float32)
    np.testing.assert_allclose(window_features(samples, spec), expected, rtol=1e-6)


FAULTS = {
    "raise": ("extractor-error", "raised KeyError"),
    "shape": ("extractor-shape", "of shape (1, 1) instead of (1, 1, 1)"),
    "nothing": ("extractor-shape", "gave no array of numbers (but NoneType)"),
    "text": ("extractor-shape", "gave no array of numbers"),
    "nan": ("extractor-not-finite", "NaN"),
    "masked": ("extractor-not-finite", "masked"),
    "masked list": ("extractor-not-finite", "masked"),
    "memory": ("extractor-memory", "memory"),
    "surrogate": ("extractor-error", "raised ValueError: cannot read \\udcff\\udc80"),
    "long": ("extractor-error", r"raised ValueError: a\x00b\x1b[31mxxx"),
    "mute": ("extractor-error", "raised Mute: Mute"),
    "no-array": ("extractor-shape", r"gave no array of numbers (no \udcff numbers)"),
    "crash": ("extractor-crash", "SIGABRT"),
    "garbage": ("extractor-crash", "exit code 0"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_song_on_which_the_extractor_fails_fails_alone(tmp_path: Path, fault: str) -> None:
    quiet = 0.5 * chirp(1.0, 8000) / np.abs(chirp(1.0, 8000)).max()
    write(tmp_path / "a.wav", quiet, 8000)
    write(tmp_path / "b.wav", quiet / 0.5 * 0.99, 8000)
    write(tmp_path / "c.wav", quiet, 8000)
    spec = FeatureSpec.custom(f"{NAME}:faulty", options={"fault": fault}, window_s=1.0)
    code, says = FAULTS[fault]
    found = [(song.error_code, song.error) for song in features_of(tmp_path, spec)]
    assert [one for one, _ in found] == [None, code, None]
    assert says in str(found[1][1])
    # As an index has it: UTF-8, and no longer than a message.
    assert len(str(found[1][1]).encode()) <= 500
    assert code in REMEDIES


def test_a_fork_that_comes_back_from_an_extractor_answers_for_no_song(tmp_path: Path) -> None:
    spec = FeatureSpec.custom(f"{NAME}:faulty", options={"fault": "fork"}, window_s=0.25)
    for n_windows in (4, 8):
        write(tmp_path / f"{n_windows}.wav", np.ones((n_windows * 1000 + 1000, 1), np.float32), 8000)
    found = [(song.error, np.shape(song.windows)) for song in features_of(tmp_path, spec)]
    assert found == [(None, (4, 1, 1)), (None, (8, 1, 1))]


def test_an_extractor_that_ends_its_process_is_refused_with_its_last_words() -> None:
    with pytest.raises(SpecError, match="the extractor ended its process, exit code 3: no such device"):
        try_features(FeatureSpec.custom(f"{NAME}:ends", window_s=0.5))


def test_an_extractor_that_lies_is_found_out_before_a_store_is_made(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"shape \(1, 2, 1\) instead of \(1, 3, 1\)"):
        try_features(FeatureSpec.custom(f"{NAME}:lies", window_s=0.5))
    with pytest.raises(SongError, match="extractor"):
        window_features(np.ones(4000, np.float32), FeatureSpec.custom(f"{NAME}:lies", window_s=0.5))


def test_a_store_names_its_extractor_and_takes_no_other(
    tmp_path: Path, standing_cluster: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The module lies in a package, where the workers cannot import it: it is sent to them."""
    songs = tmp_path / "songs"
    songs.mkdir()
    write(songs / "a.wav", chirp(1.0, 8000), 8000)
    module = tmp_path / "code" / "pieces" / "own_mean.py"
    module.parent.mkdir(parents=True)
    module.write_text(MODULE.format(added=0))
    monkeypatch.chdir(tmp_path / "code")
    spec = FeatureSpec.custom("pieces.own_mean:mean", window_s=0.5)
    monkeypatch.chdir(tmp_path)
    config = ExtractConfig(scheduler_file=standing_cluster, upload=(str(module),))
    assert extract(songs, tmp_path / "store", spec, config).n_stored == 1
    store = SongStore.open(tmp_path / "store")
    assert (store.spec, store.windows("a.wav").shape) == (spec, (3, 1, 1))
    write(songs / "b.wav", chirp(1.0, 8000), 8000)
    with pytest.raises(SpecError, match="not run unasked"):
        extract(songs, tmp_path / "store", None, config)
    module.write_text(MODULE.format(added=1))
    with pytest.raises(ClusterError, match=r"cannot compute the features: .*another one here"):
        extract(songs, tmp_path / "store", spec, config)
    changed = FeatureSpec(**spec.to_dict() | {"extractor_sha256": "1" * 64})
    with pytest.raises(SpecMismatch, match="extractor_sha256"):
        extract(songs, tmp_path / "store", changed, config)
    module.write_text(MODULE.format(added=0))
    assert extract(songs, tmp_path / "store", spec, config).n_stored == 1
