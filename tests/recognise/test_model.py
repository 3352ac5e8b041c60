"""A model file as a function: its answers, and everything that is no model file of ours."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib import resources

import numpy as np
import onnx
import onnxruntime
import pytest
from model_files import CARD, SIDE, expected, graph, model_file, seal
from onnx import TensorProto, helper

from mien.errors import InputError, MienError
from mien.expressions import SEVEN
from mien.input_spec import InputSpec
from mien.recognise import model_file as files
from mien.recognise.model import BATCH, FaceModel
from mien.recognise.model_file import checked_card, digest_of, sealed

FACES = np.random.default_rng(1).integers(0, 256, (2 * BATCH + 3, 1, SIDE, SIDE), dtype=np.uint8)
FILE = model_file()


@pytest.fixture(scope="module")
def model():
    return FaceModel.open(FILE)


@pytest.mark.parametrize("count", [0, 1, BATCH, BATCH + 1, len(FACES)])
def test_answers_are_those_computed_by_hand(model, count):
    answers = model(FACES[:count]), model.logits(FACES[:count]), model.features(FACES[:count])
    for answer, by_hand in zip(answers, expected(FACES[:count]), strict=True):
        assert answer.dtype == np.float32
        assert answer.shape == by_hand.shape
        assert answer == pytest.approx(by_hand, abs=1e-5)


def test_an_answer_does_not_depend_on_the_company(model):
    together = model(FACES)
    alone = np.concatenate([model(face[None]) for face in FACES[:20]])
    assert np.array_equal(together[:20], alone)


def test_several_threads_may_ask_at_once(model):
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda start: model(FACES[start : start + 9]), range(100)))
    assert all(np.array_equal(a, model(FACES[i : i + 9])) for i, a in enumerate(answers))


def test_a_path_and_its_content_open_alike(model, tmp_path):
    path = tmp_path / "face.onnx"
    path.write_bytes(FILE)
    for source in (path, str(path), FILE):
        opened = FaceModel.open(source, threads=1)
        assert opened.card == model.card
        assert np.array_equal(opened(FACES), model(FACES))
    assert model.card.expressions == SEVEN
    assert model.card.digest == digest_of(graph().SerializeToString())


def test_any_onnx_tool_reads_the_whole_file():
    read = onnx.load_from_string(FILE)
    onnx.checker.check_model(read, full_check=True)
    assert [entry.key for entry in read.metadata_props] == ["mien.card", "mien.sha256"]


@pytest.mark.parametrize(
    "faces",
    [FACES.astype(np.float32), FACES[:, 0], FACES[..., :40], np.repeat(FACES, 3, axis=1)],
    ids=["float", "no channel", "narrow", "RGB"],
)
def test_faces_of_another_shape_are_refused(model, faces):
    with pytest.raises(InputError, match=r"it takes uint8 \(N, 1, 48, 48\)"):
        model(faces)


@pytest.mark.parametrize("device", ["gpu", "cpu:1", "cuda:x", ""])
def test_an_unknown_device_is_refused(device):
    with pytest.raises(InputError, match="use auto, cpu, cuda or cuda:N"):
        FaceModel.open(FILE, device)


@pytest.mark.skipif(
    "CUDAExecutionProvider" in onnxruntime.get_available_providers(), reason="it has CUDA"
)
def test_cuda_is_named_where_there_is_none():
    with pytest.raises(InputError, match="onnxruntime-gpu"):
        FaceModel.open(FILE, "cuda")
    assert FaceModel.open(FILE, "auto")(FACES[:1]).shape == (1, 7)


def test_no_thread_is_refused():
    with pytest.raises(InputError, match="threads=0"):
        FaceModel.open(FILE, threads=0)


def refused(source):
    with pytest.raises(InputError) as caught:
        FaceModel.open(source)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_is_not_there_or_no_file_is_refused(tmp_path):
    assert "no such model file" in refused(tmp_path / "none.onnx")
    assert "a folder" in refused(tmp_path)
    assert "cannot be read" in refused("a\0b.onnx") or "no such" in refused("a\0b.onnx")


def test_a_file_too_large_is_refused_unread(tmp_path, monkeypatch):
    path = tmp_path / "large.onnx"
    path.write_bytes(FILE)
    monkeypatch.setattr(files, "MAX_BYTES", len(FILE) - 1)
    assert "too large" in refused(path)
    assert "too large" in refused(FILE)


def changed(edit):
    """A model file whose graph was changed before it was sealed."""
    model = graph()
    edit(model)
    return seal(model)


def external(model):
    tensor = model.graph.initializer[-1]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")


def external_in_a_node(model):
    tensor = TensorProto(name="t", data_type=1, dims=[1], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="secret")
    model.graph.node.append(helper.make_node("Constant", [], ["unused"], value=tensor))


def function(model):
    nodes = [helper.make_node("Relu", ["x"], ["y"])]
    opsets = [helper.make_opsetid("", 18)]
    model.functions.append(helper.make_function("mine", "F", ["x"], ["y"], nodes, opsets))


def subgraph(model):
    inner = helper.make_graph([], "inner", [], [])
    model.graph.node.append(helper.make_node("If", ["c"], ["d"], then_branch=inner))


def other_input(model):
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_value = 40


def other_output(model):
    del model.graph.output[2]


def set_opset(version, domain=""):
    def edit(model):
        model.opset_import[0].version = version
        model.opset_import[0].domain = domain

    return edit


def foreign_node(model):
    model.graph.node[1].domain = "com.microsoft"


def no_opset(model):
    del model.opset_import[:]


def unknown_operator(model):
    model.graph.node[-1].op_type = "Enchant"


def endless_loop(model):
    body = helper.make_graph([helper.make_node("Identity", ["c"], ["d"])], "body", [], [])
    model.graph.node.append(helper.make_node("Loop", ["", "true", "faces"], ["x"], body=body))


def random_operator(model):
    model.graph.node.append(helper.make_node("RandomNormal", [], ["noise"], shape=[3]))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "not a model file of mien"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "not a model file of mien"),
        (graph().SerializeToString(), "it has no card"),
        (FILE[:-1], "cut short"),
        (FILE[: len(FILE) // 2], "cut short"),
        (FILE + b"\x72\x00", "it has no card"),
        (FILE.replace(b"surprise", b"surprize"), "it was changed"),
        (FILE.replace(b"AveragePool", b"averagePool"), "it was changed"),
        (FILE.replace(b"mien.card", b"mien.kard"), "it has no card"),
        (sealed(graph().SerializeToString(), CARD), "belongs to another graph"),
        (model_file(licence="x" * 1_000_001), "its card is too long"),
        (model_file(temperature=-1.0), "temperature"),
        (changed(external), "weights in another file"),
        (changed(external_in_a_node), "weights in another file"),
        (changed(function), "functions"),
        (changed(subgraph), "the operator b'If'"),
        (changed(set_opset(17)), "version 17 of ONNX's operators"),
        (changed(set_opset(18, "com.microsoft")), "com.microsoft"),
        (changed(foreign_node), "com.microsoft"),
        (changed(no_opset), "names no operators"),
        (changed(unknown_operator), "the operator b'Enchant'"),
        (changed(endless_loop), "the operator b'Loop'"),
        (changed(random_operator), "the operator b'RandomNormal'"),
        (changed(other_input), "does not match its card"),
        (changed(other_output), "does not match its card"),
        (model_file(expressions=SEVEN[:6]), "does not match its card"),
        (model_file(input=InputSpec(height=40)), "does not match its card"),
    ],
)
def test_what_is_no_model_file_of_ours_is_refused(content, said):
    assert said in refused(content)


@pytest.mark.parametrize("edit", [external, function, set_opset(17), set_opset(18, "x")])
def test_the_runtime_never_sees_what_is_refused(edit, monkeypatch):
    def never(*_arguments, **_options):
        pytest.fail("the runtime was asked")

    monkeypatch.setattr(onnxruntime, "InferenceSession", never)
    refused(changed(edit))
    refused(FILE.replace(b"surprise", b"surprize"))


def mutated(content, generator):
    """Some bytes of a file changed, taken out, doubled, put in, or its end cut off."""
    data = bytearray(content)
    for _ in range(generator.integers(1, 4)):
        at = int(generator.integers(len(data) + 1))
        end = at + int(generator.integers(1, 40))
        match generator.integers(6):
            case 0:
                data[at : at + 1] = bytes(b ^ 1 << generator.integers(8) for b in data[at : at + 1])
            case 1:
                del data[at:end]
            case 2:
                data[at:at] = data[at:end]
            case 3:
                data[at:at] = generator.bytes(end - at)
            case 4:
                data[at:end] = bytes(len(data[at:end]))
            case 5:
                del data[max(1, at) :]
    return bytes(data)


def check_mutants(count, seed):
    """No changed byte is accepted; behind a right seal, any bytes end in an answer or one sentence."""
    generator = np.random.default_rng(seed)
    inner = graph().SerializeToString()
    for _ in range(count // 2):
        mutant = mutated(FILE, generator)
        if mutant != FILE:
            with pytest.raises(InputError):
                FaceModel.open(mutant)
        broken = mutated(inner, generator)
        card = replace(CARD, digest=digest_of(broken))
        try:
            assert FaceModel.open(sealed(broken, card))(FACES[:2]).shape == (2, 7)
        except MienError:  # most often an InputError: the file was refused
            continue


def test_mutated_files_are_refused_and_never_crash():
    check_mutants(600, seed=0)


@pytest.mark.slow
def test_many_mutated_files_are_refused_and_never_crash():
    check_mutants(20_000, seed=1)


def test_the_bundled_model_answers_without_torch_and_is_small():
    file = resources.files("mien.recognise").joinpath("default.onnx")
    content = file.read_bytes()
    assert len(content) < 6_000_000
    card = checked_card(content, "default.onnx")
    assert card.expressions == SEVEN
    assert card.parity["float32"]["probabilities"] <= 1e-4
    assert card.licence != "not stated"
    code = (
        "import sys, numpy; from pathlib import Path\n"
        "from mien.recognise.model import FaceModel\n"
        "answers = FaceModel.open(sys.argv[1])(numpy.zeros((3, 1, 48, 48), numpy.uint8))\n"
        "assert answers.shape == (3, 7) and abs(answers.sum() - 3) < 1e-5, answers\n"
        "heavy = {'torch', 'onnx', 'matplotlib', 'sklearn'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(file)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
