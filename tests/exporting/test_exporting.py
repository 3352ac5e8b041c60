"""A run as a model file: the same answers as torch, calibrated, whole or not there. Tracing takes seconds: slow."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

import mien
from mien import api, cli, models
from mien.data import load
from mien.data.ferplus import CHOICES, Votes
from mien.data.splits import split
from mien.data.store import SPLITS
from mien.errors import InputError, MienError
from mien.evaluation.calibration import Calibration, fit_temperature
from mien.evaluation.limits import DETAILS, NOISES, SIZES, SPREADS
from mien.evaluation.people import majority_of
from mien.evaluation.scenes import SCORES, TURNS
from mien.exporting import MAX_DIFFERENCE, export, export_run, graph
from mien.exporting.graph import with_probabilities
from mien.exporting.int8 import quantised
from mien.expressions import SEVEN
from mien.files import write_json
from mien.input_spec import InputSpec
from mien.models import Classifier, load_classifier
from mien.recognise.model import FaceModel
from mien.recognise.model_file import OPSET
from mien.resize import fitted
from mien.runs import RunFolder
from mien.training import ModelSpec, Recipe

DATA = "synthetic:280"


@pytest.fixture(scope="module")
def store():
    return load(DATA)


@pytest.fixture(scope="module")
def run(store, tmp_path_factory):
    recipe = Recipe(
        name="small",
        model=ModelSpec("four-block-cnn", {"width": 0.25}),
        epochs=15,
        batch_size=32,
        precision="float32",
    )
    out = tmp_path_factory.mktemp("export") / "run"
    return api.train(recipe, store, out, device="cpu", watchers=[])


@pytest.fixture(scope="module")
def exported(run, store, tmp_path_factory):
    return export_run(run, store, tmp_path_factory.mktemp("files") / "small.onnx")


def random_network(name, spec, **options):
    """A network of random weights whose BatchNorm does something."""
    torch.manual_seed(0)
    network = models.create(name, spec, 7, options)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(std=0.3)
            module.running_var.uniform_(0.5, 2.0)
    return Classifier(network.eval(), spec, SEVEN)


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in models.names() if n != "timm"] + ["timm"])
def test_every_network_answers_as_torch_does(name, run, store):
    spec = models.entry(name).input
    options = {}
    if name == "timm":
        spec, options = replace(spec, height=64, width=64), {"backbone": "tf_efficientnet_lite0"}
    classifier = random_network(name, spec, **options)
    traced = graph.traced(classifier)
    assert {node.domain for node in traced.graph.node} == {""}
    assert not any(node.metadata_props or node.doc_string for node in traced.graph.node)
    weights = sum(p.numel() * 4 for p in classifier.network.parameters())
    assert traced.ByteSize() < 1.02 * weights + 40_000
    card = export.ModelCard(
        name=name,
        expressions=classifier.expressions,
        input=spec,
        crop=export.CropRule(),
        digest="0" * 64,
        temperature=1.3,
    )
    _, _, model = export._opened(traced, card)
    faces = fitted(store.pixels[:5], spec)
    logits = classifier.logits(torch.tensor(faces))
    assert np.abs(model.logits(faces) - logits.numpy()).max() < MAX_DIFFERENCE
    probabilities = (logits / 1.3).softmax(dim=1).numpy()
    assert np.abs(model(faces) - probabilities).max() < 1e-5
    # Those are the features that the head turns into logits.
    features = torch.tensor(model.features(faces))
    heads = graph.head_names(classifier.network)
    head = classifier.network.get_submodule(sorted(heads)[0].rpartition(".")[0])
    with torch.no_grad():
        assert torch.allclose(head(features), logits, atol=MAX_DIFFERENCE)


@pytest.mark.slow
def test_the_file_says_what_it_is(exported, run, store):
    card = FaceModel.open(exported.path).card
    assert card == exported.card
    assert card.name == "small"
    assert card.expressions == store.expressions
    assert card.provenance["data"]["fingerprint"] == store.fingerprint
    assert card.provenance["recipe"]["model"]["options"]["width"] == 0.25
    assert card.parity["float32"]["logits"] <= MAX_DIFFERENCE
    limits = card.uncertain_beyond
    assert limits.size in SIZES
    assert limits.spread in SPREADS
    assert limits.detail is None or limits.detail in DETAILS
    assert limits.noise is None or limits.noise in NOISES
    assert limits.turn is None or limits.turn in TURNS
    assert limits.detection_score is None or limits.detection_score in SCORES
    assert exported.size == exported.path.stat().st_size < run.best_weights.stat().st_size + 20_000
    content = exported.path.read_bytes()
    assert b".py" not in content  # where the exporter was installed
    assert str(run.path).encode() not in content


@pytest.mark.slow
def test_it_scores_what_its_run_scores(exported, run, store):
    of_run = mien.evaluate(run, store, tta="none", device="cpu")
    of_file = mien.evaluate(exported.path, store, tta="none")
    logits = np.log(of_run.probabilities["none"])
    temperature = fit_temperature(logits, of_run.labels)
    assert exported.card.temperature == pytest.approx(temperature, rel=1e-3)
    calibrated = np.exp(logits / temperature)
    calibrated /= calibrated.sum(axis=1, keepdims=True)
    assert np.abs(of_file.probabilities["none"] - calibrated).max() < 1e-4
    assert of_file.scores["none"].official.confusion == of_run.scores["none"].official.confusion
    assert (of_file.copies == of_run.copies).all()
    said = exported.card.scores["validation"]
    assert said["accuracy"] == of_run.scores["none"].official.accuracy
    before = of_run.scores["none"].official
    assert said["before_temperature"]["cross_entropy"] == pytest.approx(before.cross_entropy, 1e-4)
    assert said["cross_entropy"] <= before.cross_entropy
    assert of_file.weights == exported.card.digest


@pytest.mark.slow
def test_votes_judge_in_place_of_labels(run, store, tmp_path):
    table = np.zeros((len(store), len(CHOICES)), np.uint8)
    named = [CHOICES.index(store.expressions[label]) for label in store.labels]
    table[np.arange(len(store)), named] = 10
    validation = np.flatnonzero(store.splits == SPLITS.index("validation"))
    unclear, otherwise = validation[:3], validation[3:12]
    table[unclear] = [0] * (len(CHOICES) - 2) + [10, 0]
    table[otherwise] = np.roll(table[otherwise, :7], 1, axis=1) @ np.eye(
        7, len(CHOICES), dtype=np.uint8
    )
    rows = np.arange(len(store))
    votes = Votes(table, rows, store.splits, np.ones(len(store), bool), "votes.csv")
    voted = replace(store, rows=rows.astype(str))
    made = export_run(run, voted, tmp_path / "voted.onnx", votes=votes)

    said = made.card.scores["validation"]
    faces = voted.faces(validation)
    truth = majority_of(votes, faces)
    told = FaceModel.open(made.path)(fitted(faces.pixels(), made.card.input))[truth >= 0]
    right = told.argmax(axis=1) == truth[truth >= 0]
    sure = told.max(axis=1) >= made.card.uncertain_below
    assert said["faces"] == len(validation)
    assert said["majority"]["faces"] == len(validation) - 3 == said["uncertain"]["faces"]
    assert said["majority"]["accuracy"] == right.mean() < said["accuracy"]
    assert said["uncertain"]["judge"] == "majority of votes"
    assert said["uncertain"]["accuracy_of_others"] == pytest.approx(right[sure].mean())
    assert right[sure].mean() >= 0.92
    assert said["majority"]["cross_entropy"] <= said["before_temperature"]["cross_entropy"]


def test_the_runs_test_figures_are_those_of_these_weights(tmp_path):
    run = RunFolder(tmp_path)
    run.best_weights.parent.mkdir()
    run.best_weights.write_bytes(b"weights")
    write_json(run.environment_path, {"data": {"fingerprint": "f"}})
    views = {"none": {"official": {"accuracy": 0.6}, "deduplicated": None}}
    people = {"decided": 90, "majority": {"value": 0.8}, "balanced": {"value": 0.7}}

    def scores(digest, fingerprint):
        found = {"weights_sha256": digest, "data": {"fingerprint": fingerprint}}
        write_json(run.evaluation_path("test"), found | {"views": views, "people": people})
        return export._test_scores(RunFolder(tmp_path))

    assert export._test_scores(run) == {}  # not evaluated
    assert scores(run.weights_digest(), "f")["test_of_the_run"] == {
        "official_accuracy": 0.6,
        "deduplicated_accuracy": None,
        "majority": {"faces": 90, "accuracy": 0.8, "balanced_accuracy": 0.7},
    }
    assert scores("others", "f") == {}  # of other weights
    assert scores(run.weights_digest(), "g") == {}  # on other data


@pytest.mark.slow
def test_a_model_file_is_scored_without_torch(exported, tmp_path):
    code = (
        "import sys\n"
        "class Missing:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] in ('torch', 'onnx'):\n"
        "            raise ModuleNotFoundError(name=name)\n"
        "sys.meta_path.insert(0, Missing())\n"
        "from mien.cli import run; sys.exit(run(sys.argv[1:]))\n"
    )
    arguments = ["evaluate", str(exported.path), "--data", DATA, "--split", "test", "--json"]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True, text=True, check=False, cwd=tmp_path, env=os.environ,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (said,) = json.loads(done.stdout)["evaluations"]
    assert said["counts"]["faces"] == 56
    assert set(said["views"]) == {"none", "flip"}
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_the_same_run_gives_the_same_bytes_on_any_machine(
    exported, run, store, tmp_path, monkeypatch
):
    """The file is compared with torch on the CPU: here `auto` is a device on which nothing has a value."""

    def pick(name):
        return torch.device("cpu" if name == "cpu" else "meta")

    monkeypatch.setattr("mien.models.classifier.pick_device", pick)
    again = export_run(run, store, tmp_path / "again.onnx")
    assert again.path.read_bytes() == exported.path.read_bytes()


@pytest.mark.slow
def test_test_faces_play_no_part_and_int8_looks_at_training_faces_alone(
    run, store, tmp_path, monkeypatch
):
    seen = []
    real = export.quantised
    monkeypatch.setattr(export, "quantised", lambda g, f: seen.append(f) or real(g, f))
    files = []
    for name in ("a", "b"):
        out = tmp_path / name / "f.onnx"
        files.append(export_run(run, store, out, weights="int8", max_drop=100))
        pixels = store.pixels.copy()
        pixels[store.splits == 2] = 255 - pixels[store.splits == 2]
        store = replace(store, pixels=pixels)
    assert files[0].path.read_bytes() == files[1].path.read_bytes()
    training = {face.tobytes() for face in split(store).train.pixels()}
    assert all(face.tobytes() in training for face in seen[0])


@pytest.mark.slow
def test_int8_is_small_and_says_what_it_costs(exported, run, store, tmp_path):
    small = export_run(run, store, tmp_path / "int8.onnx", weights="int8", max_drop=100)
    assert small.size < 0.5 * exported.size
    faces = split(store).validation
    answers = [FaceModel.open(e.path)(faces.pixels()).argmax(axis=1) for e in (exported, small)]
    accuracy = [(answer == faces.labels).mean() for answer in answers]
    said = small.card.parity["int8"]
    assert said["drop_in_points"] == pytest.approx(100 * (accuracy[0] - accuracy[1]))
    assert said["same_answer"] == pytest.approx((answers[0] == answers[1]).mean())
    assert said["same_answer"] > 0.8
    assert small.card.scores["validation"]["accuracy"] == pytest.approx(accuracy[1])
    assert min(small.speeds.values()) > 0
    kinds = [n.op_type for n in onnx.load(small.path).graph.node]
    assert kinds.count("DequantizeLinear") > kinds.count("Conv")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["four-block-cnn", "mien-s"])
def test_every_convolution_of_an_int8_file_is_computed_in_8_bits(name, tmp_path):
    """Also beside a shortcut, which reads what the convolution is given."""
    plain = graph.traced(random_network(name, InputSpec(), width=0.5))
    faces = np.random.default_rng(0).integers(0, 256, (32, 1, 48, 48), dtype=np.uint8)
    wanted = sum(node.op_type == "Conv" for node in plain.graph.node)
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "as-computed.onnx")
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.log_severity_level = 4
    onnxruntime.InferenceSession(
        quantised(plain, faces).SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    kinds = [node.op_type for node in onnx.load(tmp_path / "as-computed.onnx").graph.node]
    assert (kinds.count("QLinearConv"), kinds.count("Conv")) == (wanted, 0)


@pytest.mark.slow
def test_float16_is_half_the_size_and_computes_in_float32(exported, run, store, tmp_path):
    small = export_run(run, store, tmp_path / "half.onnx", weights="float16", max_drop=100)
    graph_bytes = [len(onnx.load(e.path).graph.SerializeToString()) for e in (exported, small)]
    assert graph_bytes[1] < 0.6 * graph_bytes[0]
    faces = split(store).validation.pixels()
    plain, half = (FaceModel.open(e.path) for e in (exported, small))
    rounded = load_classifier(run, "cpu")
    with torch.no_grad():
        for parameter in rounded.network.parameters():
            if parameter.dim() > 1:
                parameter.copy_(parameter.half().float())
        expected = rounded.logits(torch.from_numpy(faces)).numpy()
    # A BatchNorm that is folded into a filter before it is rounded leaves another last bit.
    np.testing.assert_allclose(half.logits(faces), expected, atol=0.02)
    assert 0 < np.abs(half.logits(faces) - plain.logits(faces)).max() < 0.02
    assert small.card.parity["float16"]["same_answer"] > 0.95
    assert "calibrated_on" not in small.card.parity["float16"]


def spoilt(model, *_faces):
    """A model whose last layer is not what was learnt."""
    broken = onnx.ModelProto()
    broken.CopyFrom(model)
    last = next(n for n in broken.graph.node if "logits" in n.output)
    weights = next(i for i in broken.graph.initializer if i.name == last.input[1])
    values = -onnx.numpy_helper.to_array(weights)
    weights.CopyFrom(onnx.numpy_helper.from_array(values, weights.name))
    return broken


@pytest.mark.slow
def test_int8_that_loses_too_much_is_refused(run, store, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "quantised", spoilt)
    with pytest.raises(InputError, match=r"loses \d+\.\d\d points .* --max-drop 0\.5"):
        export_run(run, store, tmp_path / "f.onnx", weights="int8")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_graph_that_answers_otherwise_than_torch_is_refused(run, store, tmp_path, monkeypatch):
    traced = export.traced
    monkeypatch.setattr(export, "traced", lambda classifier: spoilt(traced(classifier)))
    with pytest.raises(MienError, match="the answers of its ONNX graph differ"):
        export_run(run, store, tmp_path / "f.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_the_command_line_shows_what_was_fitted(run, tmp_path, capsys):
    out = tmp_path / "f.onnx"
    command = ["export", str(run.path), "--data", DATA, "--out", str(out), "--licence", "CC0"]
    command += ["--name", "mine"]
    assert cli.run([*command, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["bytes"] == out.stat().st_size
    assert said["temperature"] == FaceModel.open(out).card.temperature
    card = FaceModel.open(out).card
    assert (card.name, card.licence) == ("mine", "CC0")
    assert cli.run([*command, "--int8", "--max-drop", "100"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert cli.run([*command, "--int8", "--float16"]) == 2
    assert "give one" in capsys.readouterr().err
    for word in ("temperature", "uncertain below", "parity with torch", "faces/s on one thread"):
        assert word in shown
    assert "not in the card; to add it: mien evaluate RUN --split test" in shown


@pytest.mark.slow
def test_test_scores_are_in_the_card_where_the_run_has_them(run, tmp_path, capsys):
    evaluated = shutil.copytree(run.path, tmp_path / "run")
    assert cli.run(["evaluate", str(evaluated), "--data", DATA, "--split", "test", "--json"]) == 0
    accuracy = json.loads(capsys.readouterr().out)
    out = tmp_path / "f.onnx"
    assert cli.run(["export", str(evaluated), "--data", DATA, "--out", str(out)]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    told = FaceModel.open(out).card.scores["test_of_the_run"]["official_accuracy"]
    assert f"test {told:.2%}, as the run was evaluated" in shown
    assert str(told) in json.dumps(accuracy)


def test_requests_that_cannot_be_met_are_refused_before_work(run, store, tmp_path, monkeypatch):
    def never(_classifier):
        pytest.fail("it was traced all the same")

    monkeypatch.setattr(export, "traced", never)
    (tmp_path / "folder.onnx").mkdir()
    for out, options, said in [
        ("model.pt", {}, "ends in .onnx"),
        ("folder.onnx", {}, "this is a folder"),
        ("f.onnx", {"max_drop": -1.0}, "--max-drop"),
        ("f.onnx", {"max_drop": float("nan")}, "--max-drop"),
    ]:
        with pytest.raises(InputError, match=said):
            export_run(run, store, tmp_path / out, **options)
    with pytest.raises(InputError, match="was trained on other data"):
        export_run(run, replace(store, fingerprint="f" * 64), tmp_path / "f.onnx")
    with pytest.raises(InputError, match="no such run folder"):
        api.export(tmp_path / "none", tmp_path / "f.onnx")


def test_a_model_file_needs_data_to_be_scored_on(tmp_path):
    with pytest.raises(InputError, match="no such model file"):
        mien.evaluate(tmp_path / "f.onnx", DATA)
    bundled = Path(mien.__file__).parent / "recognise" / "default.onnx"
    with pytest.raises(InputError, match="give --data"):
        mien.evaluate(bundled)
    with pytest.raises(InputError, match="unknown split"):
        mien.evaluate(bundled, DATA, split="tset")


def test_offsets_are_added_inside_the_graph():
    value = partial(onnx.helper.make_tensor_value_info, elem_type=onnx.TensorProto.FLOAT)
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Identity", ["given"], [name]) for name in ("logits", "features")],
        "mien",
        [value("given", shape=["N", 3])],
        [value("logits", shape=["N", 3]), value("features", shape=["N", 3])],
    )
    model = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", OPSET)], ir_version=10
    )
    logits = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    for offsets in ((), (0.5, -1.5, 1.0)):
        session = onnxruntime.InferenceSession(with_probabilities(model, 0.5, offsets))
        said, same, _ = session.run(None, {"given": logits})
        assert np.allclose(said, Calibration(0.5, offsets)(logits), atol=1e-6)
        assert (same == logits).all()


@pytest.mark.slow
def test_a_run_folder_is_recognised_with_as_its_export_is(
    run, store, exported, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("MIEN_CACHE", str(tmp_path / "cache"))
    faces = [np.repeat(face.transpose(1, 2, 0), 3, axis=2) for face in store.pixels[:8]]
    by_file = mien.Recognizer(exported.path, detector="none").recognize(faces)
    for _ in range(2):
        by_run = mien.Recognizer(run.path, detector="none").recognize(faces)
        assert [one.to_dict() for one in by_run] == [one.to_dict() for one in by_file]
    assert capsys.readouterr().err.count("exported once") == 1
