"""Augmentation against exact transformations of the same faces."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from mien.input_spec import InputSpec
from mien.models.preparing import prepare
from mien.recipe import Augment
from mien.training import augment as module
from mien.training.augment import draw_views

SPEC = InputSpec(mean=(0.0,), std=(1.0,))


def augmented(faces, spec, augment, seed=0):
    views = draw_views(len(faces), torch.Generator().manual_seed(seed))
    return module.augmented(faces, views, spec, augment)


@pytest.fixture
def faces():
    generator = np.random.default_rng(0)
    return torch.from_numpy(generator.integers(0, 256, (64, 1, 48, 48), dtype=np.uint8))


def test_without_augmentation_faces_are_only_prepared(faces):
    torch.testing.assert_close(augmented(faces, SPEC, Augment()), prepare(faces, SPEC))


@pytest.mark.parametrize("moved", [False, True])
def test_a_mirror_image_is_exact(faces, moved):
    # An imperceptible shift sends the faces through the resampling instead of the plain mirror.
    augment = Augment(flip=1.0, shift=1e-7 if moved else 0.0)
    expected = prepare(faces, SPEC).flip(3)
    torch.testing.assert_close(augmented(faces, SPEC, augment), expected, atol=1e-4, rtol=0)


def test_about_half_are_mirrored(faces):
    same = (augmented(faces, SPEC, Augment(flip=0.5)) == prepare(faces, SPEC)).flatten(1).all(1)
    assert 16 < same.sum() < 48


def test_a_shift_moves_by_at_most_its_share(faces):
    point = torch.zeros(256, 1, 48, 48, dtype=torch.uint8)
    point[:, :, 24, 24] = 255
    moved = augmented(point, SPEC, Augment(shift=0.25))
    rows, columns = moved.flatten(1).argmax(1) // 48, moved.flatten(1).argmax(1) % 48
    for place in (rows, columns):
        assert (place - 24).abs().max() in (11, 12, 13)
        assert abs(place.float().mean() - 24) < 2


def test_a_rotation_turns_about_the_centre_by_at_most_its_angle():
    point = torch.zeros(256, 1, 48, 48, dtype=torch.uint8)
    point[:, :, 23:25, 40:42] = 255  # 17 px right of the centre (23.5, 23.5)
    turned = augmented(point, SPEC, Augment(rotation=30)).squeeze(1)
    ys, xs = torch.meshgrid(torch.arange(48) - 23.5, torch.arange(48) - 23.5, indexing="ij")
    mass = turned.sum((1, 2))
    x, y = (turned * xs).sum((1, 2)) / mass, (turned * ys).sum((1, 2)) / mass
    angles = torch.rad2deg(torch.atan2(y, x))
    assert 27 < angles.max() <= 30.5
    assert -30.5 <= angles.min() < -27
    torch.testing.assert_close(torch.hypot(x, y), torch.full((256,), 17.0), atol=0.3, rtol=0)


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_scale_zooms_by_its_factor(factor):
    square = torch.zeros(1, 1, 48, 48, dtype=torch.uint8)
    square[:, :, 18:30, 18:30] = 255
    zoomed = augmented(square, SPEC, Augment(scale=(factor, factor)))
    assert zoomed.sum() == pytest.approx(144 * factor**2, rel=0.05)


def test_a_larger_input_is_made_in_the_same_resampling(faces):
    spec = InputSpec(3, 128, 128, mean=(0.0,), std=(1.0,))
    large = augmented(faces, spec, Augment(rotation=1e-6))
    assert large.shape == (64, 3, 128, 128)
    torch.testing.assert_close(large[:, 0], large[:, 2])
    smooth = torch.nn.functional.interpolate(
        faces.float() / 255, (128, 128), mode="bilinear", align_corners=False
    )
    inner = slice(4, -4)  # at the border one repeats pixels, the other fades to black
    torch.testing.assert_close(
        large[:, :1, inner, inner], smooth[..., inner, inner], atol=1e-3, rtol=0
    )


def test_erasing_replaces_a_rectangle_of_the_promised_area(faces):
    changed = augmented(faces, SPEC, Augment(erase=1.0)) != prepare(faces, SPEC)
    shares = changed.float().mean((1, 2, 3))
    assert (shares > 0.01).all()
    assert (shares < 0.25).all()
    for mask in changed[:, 0]:
        rows, columns = mask.any(1).nonzero(), mask.any(0).nonzero()
        box = mask[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        assert box.float().mean() > 0.95  # a pixel may have had that gray by chance


def test_the_same_seed_gives_the_same_faces(faces):
    augment = Augment(flip=0.5, rotation=10, scale=(0.9, 1.1), shift=0.1, erase=0.5)
    first, again, other = (augmented(faces, SPEC, augment, seed) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_face_s_view_does_not_depend_on_the_batch_it_is_in(faces):
    augment = Augment(
        flip=0.5,
        rotation=10,
        scale=(0.9, 1.1),
        shift=0.1,
        light=0.3,
        blur=1.0,
        noise=0.1,
        erase=0.5,
    )
    views = draw_views(64, torch.Generator().manual_seed(0))
    together = module.augmented(faces, views, SPEC, augment)
    chosen = torch.tensor([63, 5, 17])
    alone = module.augmented(faces[chosen], views[chosen], SPEC, augment)
    torch.testing.assert_close(alone, together[chosen])


def test_light_changes_mean_and_spread_by_at_most_its_factors(faces):
    gray = 64 + faces // 8  # so that nothing is cut off at black or white
    plain, lit = prepare(gray, SPEC), augmented(gray, SPEC, Augment(light=0.5))
    brightness = lit.mean((1, 2, 3)) / plain.mean((1, 2, 3))
    contrast = lit.std((1, 2, 3)) / plain.std((1, 2, 3)) / brightness
    for factor in (brightness, contrast):
        assert 0.5 <= factor.min() < 0.6
        assert 1.4 < factor.max() <= 1.501


def test_blur_is_that_of_an_independent_gaussian_filter(faces):
    views = draw_views(64, torch.Generator().manual_seed(3))
    blurred = module.augmented(faces, views, SPEC, Augment(blur=2.0))
    widths = 2.0 * views[:, 13]
    for position in (0, 20, 63):
        plain = prepare(faces[position : position + 1], SPEC)[0, 0].numpy()
        expected = gaussian_filter(plain, float(widths[position]), mode="nearest", radius=6)
        np.testing.assert_allclose(blurred[position, 0], expected, atol=1e-5)


def test_blur_keeps_channels_apart():
    faces = torch.zeros(3, 3, 48, 48, dtype=torch.uint8)
    faces[:, 1] = 200
    spec = InputSpec(3, 48, 48, mean=(0.0,) * 3, std=(1.0,) * 3)
    blurred = augmented(faces, spec, Augment(blur=3.0))
    torch.testing.assert_close(blurred, prepare(faces, spec))


def test_noise_is_gaussian_of_each_face_s_own_strength():
    gray = torch.full((512, 1, 48, 48), 128, dtype=torch.uint8)
    noise = augmented(gray, SPEC, Augment(noise=0.1)) - prepare(gray, SPEC)
    strengths = noise.std((1, 2, 3))
    assert strengths.min() < 0.01
    assert 0.09 < strengths.max() < 0.11
    assert strengths.mean() == pytest.approx(0.05, abs=0.005)
    strong = noise[strengths > 0.05] / strengths[strengths > 0.05].view(-1, 1, 1, 1)
    assert (strong.abs() < 1).float().mean() == pytest.approx(0.683, abs=0.01)
    neighbours = (strong[..., 1:] * strong[..., :-1]).mean()
    assert abs(neighbours) < 0.01
    assert abs((strong[0] * strong[1]).mean()) < 0.1  # another face, another noise


def test_what_was_added_later_left_the_first_numbers_of_a_view_as_they_were():
    views = draw_views(64, torch.Generator().manual_seed(0))
    first = torch.rand(64, 13, generator=torch.Generator().manual_seed(0))
    assert torch.equal(views[:, :13], first)


@pytest.mark.parametrize(
    ("harm", "spared"),
    [({"blur": 2.0}, 0.75), ({"noise": 0.2}, 0.75), ({"light": 0.5}, 0.75**2)],
)
def test_so_many_faces_are_spared_and_the_others_changed_as_far(harm, spared):
    generator = np.random.default_rng(0)
    pixels = 64 + generator.integers(0, 32, (2000, 1, 8, 8), dtype=np.uint8)
    faces = torch.from_numpy(pixels)
    plain = prepare(faces, SPEC)
    changes = [
        (augmented(faces, SPEC, Augment(**harm, spare=spare)) - plain).flatten(1).std(1)
        for spare in (0.75, 0.0)
    ]
    assert (changes[0] < 1e-6).float().mean() == pytest.approx(spared, abs=0.03)
    assert 0.8 * changes[1].max() < changes[0].max() < 1.05 * changes[1].max()


def test_borders_are_filled_in_four_ways_and_the_face_is_as_it_was():
    face = torch.full((400, 1, 48, 48), 200, dtype=torch.uint8)
    face[:, :, :, :24] = 100
    half = Augment(scale=(0.5, 0.5))
    plain = augmented(face, SPEC, half)
    varied = augmented(face, SPEC, Augment(scale=(0.5, 0.5), border="varied"))
    inside = (slice(None), 0, slice(14, 34), slice(14, 34))
    torch.testing.assert_close(varied[inside], plain[inside])
    left, right = varied[:, 0, 24, 1], varied[:, 0, 24, 46]
    dark, light = 100 / 255, 200 / 255

    def near(values, level):
        return (values - level).abs() < 1e-3

    black = near(left, 0) & near(right, 0)
    drawn_out = near(left, dark) & near(right, light)
    gray = (left == right) & ~black
    assert 60 < black.sum() < 140
    assert 60 < gray.sum() < 140
    assert 140 < drawn_out.sum() < 260  # and the mirror image, whose outermost pixels are these too


def test_a_mirrored_border_is_numpy_s():
    face = torch.arange(48, dtype=torch.uint8).mul(5).expand(500, 1, 48, 48).contiguous()
    varied = augmented(face, SPEC, Augment(scale=(0.5, 0.5), border="varied"))[:, 0, 24]
    shrunk = prepare(face[:1], InputSpec(height=24, width=24, mean=(0.0,), std=(1.0,)))[0, 0, 12]
    expected = torch.from_numpy(np.pad(shrunk.numpy(), 12, mode="symmetric"))
    mirrored = (varied - expected).abs().max(1).values < 0.03
    assert 80 < mirrored.sum() < 170
