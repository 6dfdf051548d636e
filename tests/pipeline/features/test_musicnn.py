"""The example of a pretrained network: its output is that of the graph in the package that its weights come from."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from songbag_pipeline import features_of
from songbag_store import FeatureSpec
from songbag_store.progress import Silent
from tests.support.audio import chirp, write

PACKAGE = importlib.util.find_spec("musicnn")

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(PACKAGE is None, reason="needs `pip install --no-deps musicnn==0.1.0`"),
]


def logits_of_the_graph(model: str, mel: Any) -> Any:
    """Run the part of the package's graph that leads to the logits, its variables replaced by their values."""
    import tensorflow as tf

    v1 = tf.compat.v1
    assert PACKAGE is not None
    assert PACKAGE.submodule_search_locations
    folder = Path(PACKAGE.submodule_search_locations[0]) / model
    meta = v1.MetaGraphDef()
    meta.ParseFromString((folder / ".meta").read_bytes())
    node_of = {node.name: node for node in meta.graph_def.node}
    output, wanted, waiting = "model/dense_1/BiasAdd", set[str](), ["model/dense_1/BiasAdd"]
    while waiting:
        name = waiting.pop().removeprefix("^").partition(":")[0]
        if name not in wanted:
            wanted.add(name)
            waiting += node_of[name].input
    nodes = [node for node in meta.graph_def.node if node.name in wanted]
    for node in nodes:
        # An earlier TensorFlow wrote shapes that this one would compute otherwise.
        node.attr.pop("_output_shapes", None)
        if node.op == "RandomUniform":
            # Dropout, which is off; in a process that trained before, random operations must have a seed.
            node.attr["seed"].i = 1
    graph, checkpoint = tf.Graph(), v1.train.NewCheckpointReader(f"{folder}/")
    with graph.as_default():
        tf.import_graph_def(v1.GraphDef(node=nodes, versions=meta.graph_def.versions), name="")
    reads = [node.name for node in nodes if node.name.endswith("/read")]
    values = {f"{name}:0": checkpoint.get_tensor(name.removesuffix("/read")) for name in reads}
    for node in nodes:
        if node.op == "Placeholder":
            values[f"{node.name}:0"] = mel if node.attr["dtype"].type == tf.float32.as_datatype_enum else False
    with v1.Session(graph=graph) as session:
        return session.run(f"{output}:0", values)


@pytest.mark.parametrize("model", ["MTT_musicnn", "MSD_musicnn"])
def test_the_network_gives_what_the_graph_of_the_package_gives(model: str) -> None:
    from examples.musicnn_vectors import N_MELS, loaded

    mel = np.random.default_rng(0).random((3, 187, N_MELS), np.float32) * 3
    expected = logits_of_the_graph(model, mel)
    assert np.abs(expected).max() > 1
    np.testing.assert_allclose(np.asarray(loaded(model)(mel)), expected, atol=1e-4)


def test_both_extractors_give_their_vectors_of_any_number_of_windows() -> None:
    from examples.musicnn_vectors import Penultimate, Pooled, log_mel

    noise = 0.1 * np.random.default_rng(0).standard_normal((3, 48000)).astype(np.float32)
    assert log_mel(noise).shape == (len(noise), 187, 96)
    for extractor, n_values in ((Penultimate(), 200), (Pooled("MSD_musicnn"), 1506)):
        vectors = extractor(noise)
        assert vectors.shape == (len(noise), n_values, 1)
        np.testing.assert_allclose(vectors[-1:], extractor(noise[-1:]), atol=1e-4)
    with pytest.raises(ValueError, match="there are MTT_musicnn and MSD_musicnn"):
        Penultimate("MTT_vgg")


def test_songs_are_extracted_within_the_memory_that_they_may_take(tmp_path: Path) -> None:
    """A song of many windows, in the contained process."""
    write(tmp_path / "song.wav", chirp(20.0))
    spec = FeatureSpec.custom("examples.musicnn_vectors:Penultimate", window_s=3.0)
    (found,) = [(song.error, np.shape(song.windows)) for song in features_of(tmp_path, spec, progress=Silent())]
    assert found == (None, (12, 200, 1))
