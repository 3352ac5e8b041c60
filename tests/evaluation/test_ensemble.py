"""The mean of several networks' probabilities, scored as one network is."""

from dataclasses import replace

import numpy as np
import pytest

from mien.errors import InputError
from mien.evaluation import compute_scores, ensemble
from mien.evaluation.evaluate import score


@pytest.fixture
def members(make_store, predict):
    """Two networks' evaluations of the same 70 faces, of which 10 are training faces too."""
    store = make_store([0] * 70)
    faces = store.faces(np.arange(70))

    def other(batch):
        return predict(255 - batch)

    return [score(member, faces, faces.digests[:10]) for member in (predict, other)]


def test_an_ensemble_is_scored_by_the_mean_of_the_probabilities(members):
    together = ensemble(members)
    for view in ("none", "flip"):
        mean = sum(one.probabilities[view].astype(np.float64) for one in members) / 2
        np.testing.assert_allclose(together.probabilities[view], mean, atol=1e-7)
        right = mean.argmax(1) == members[0].labels
        assert together.scores[view].official.accuracy == pytest.approx(right.mean())
        assert together.scores[view].deduplicated.accuracy == pytest.approx(right[10:].mean())
        expected = compute_scores(mean.astype(np.float32), members[0].labels)
        assert together.scores[view].official.cross_entropy == pytest.approx(expected.cross_entropy)


def test_views_that_one_member_lacks_are_left_out(members):
    first, second = members
    bare = replace(
        second,
        probabilities={"none": second.probabilities["none"]},
        scores={"none": second.scores["none"]},
    )
    assert ensemble([first, bare]).views == ("none",)


def test_members_that_saw_other_faces_are_refused(members):
    first, second = members
    with pytest.raises(InputError, match="two or more runs"):
        ensemble([first])
    for change in ({"rows": second.rows[::-1]}, {"labels": 1 - second.labels}):
        with pytest.raises(InputError, match="other faces or labels"):
            ensemble([first, replace(second, **change)])
