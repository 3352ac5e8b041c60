"""A network beside annotators: against scipy, and against a loop that leaves out each annotator in turn."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from pydantic import TypeAdapter
from scipy.stats import entropy, pearsonr
from sklearn.metrics import balanced_accuracy_score

from mien.data.ferplus import CHOICES, EIGHT, NO_FACE, UNKNOWN, Votes
from mien.errors import InputError
from mien.evaluation import Subject
from mien.evaluation.people import People, beside_people, majority_of, people_score
from mien.expressions import SEVEN

N = 240


@pytest.fixture(scope="module")
def votes():
    """Ten votes a face, on what it is labelled mostly; some on contempt, some on nothing."""
    generator = np.random.default_rng(0)
    table = np.zeros((N, len(CHOICES)), np.uint8)
    for face in range(N):
        weights = np.full(len(CHOICES), 0.03)
        weights[face % 7 if face % 24 else 7] += 0.7
        table[face] = generator.multinomial(10, weights / weights.sum())
    return Votes(
        votes=table,
        rows=np.arange(N),
        splits=np.repeat([0, 1, 2], N // 3).astype(np.uint8),
        has_face=np.arange(N) % 50 != 49,
        source="/some/where/votes.csv",
    )


@pytest.fixture(scope="module")
def store(make_store):
    made = make_store(np.repeat([0, 1, 2], N // 3), labels=np.arange(N) % 7)
    return replace(made, rows=np.arange(N).astype(str))


@pytest.fixture(scope="module")
def faces(store):
    return store.faces(np.flatnonzero(store.splits == 2))


@pytest.fixture(scope="module")
def probabilities(faces, predict):
    return predict(faces.pixels()).astype(np.float64)


@pytest.fixture(scope="module")
def people(probabilities, faces, votes):
    return beside_people(probabilities, faces, votes)


def test_divergence_and_correlation_are_scipy_s(people, probabilities, faces, votes):
    shares = votes[faces.indices].distributions()[:, :7].astype(np.float64)
    kept = shares.sum(axis=1) > 0
    assert people.compared == kept.sum() < len(faces)
    p = shares[kept] / shares[kept].sum(axis=1, keepdims=True)
    q = probabilities[kept]
    assert people.divergence.value == pytest.approx(entropy(p, q, axis=1).mean(), rel=1e-6)
    assert people.spread == pytest.approx(entropy(p, axis=1).mean(), rel=1e-6)
    assert people.correlation == pytest.approx(pearsonr(p.ravel(), q.ravel()).statistic)
    for k, name in enumerate(SEVEN):
        assert people.correlations[name] == pytest.approx(pearsonr(p[:, k], q[:, k]).statistic)


def test_majorities_that_it_cannot_name_are_counted(people, probabilities, faces, votes):
    majority = votes[faces.indices].majority()
    decided = (majority >= 0) & (majority < 7)
    assert people.decided == decided.sum()
    right = probabilities.argmax(axis=1)[decided] == majority[decided]
    assert people.majority.value == right.mean()
    assert people.majority.interval[0] <= people.majority.value <= people.majority.interval[1]
    assert people.labels == (faces.labels[decided] == majority[decided]).mean()
    assert people.elsewhere == (majority == 7).sum() > 0
    assert people.unknown == (majority == UNKNOWN).sum()
    assert people.no_face == (majority == NO_FACE).sum() > 0


def test_the_score_is_the_mean_of_scikit_learn_s_accuracies(people, probabilities, faces, votes):
    majority = majority_of(votes, faces)
    assert majority.min() == -1  # some have none, or contempt
    decided = majority >= 0
    answers = probabilities.argmax(axis=1)
    balanced = balanced_accuracy_score(majority[decided], answers[decided])
    assert people.balanced.value == pytest.approx(balanced)
    assert people.score.value == pytest.approx((people.majority.value + balanced) / 2)
    assert people_score(answers, majority) == pytest.approx(people.score.value)
    assert people.score.interval[0] < people.score.value < people.score.interval[1]
    for name, (recall, of) in people.recalls.items():
        here = majority == SEVEN.index(name)
        assert of == here.sum()
        assert recall == (answers == majority)[here].mean()
    assert sum(of for _, of in people.recalls.values()) == people.decided


def test_contempt_counts_as_missed_beside_networks_of_eight(people, probabilities, faces, votes):
    majority = votes[faces.indices].majority()
    eight = majority >= 0
    assert eight.sum() == people.decided + people.elsewhere > people.decided
    assert people.of_eight.value == (probabilities.argmax(axis=1) == majority)[eight].mean()
    assert people.of_eight.value < people.majority.value
    assert people.of_eight.interval[0] <= people.of_eight.value <= people.of_eight.interval[1]


def test_in_an_annotator_s_place(people, probabilities, faces, votes):
    """Each annotator in turn is taken away; ties of the others count in part."""
    answers = probabilities.argmax(axis=1)
    annotator = network = count = 0.0
    for face, row in enumerate(votes.votes[faces.indices][:, : len(EIGHT)].astype(int)):
        if row.sum() < 2:
            continue
        for choice in np.repeat(np.arange(8), row):
            others = row - np.eye(8, dtype=int)[choice]
            leaders = np.flatnonzero(others == others.max())
            annotator += (choice in leaders) / len(leaders)
            network += (answers[face] in leaders) / len(leaders)
            count += 1
    assert people.annotator.value == pytest.approx(annotator / count)
    assert people.network.value == pytest.approx(network / count)
    assert people.lead.value == pytest.approx((network - annotator) / count)
    assert people.annotator.value == pytest.approx(votes[faces.indices].annotator_agreement())


def test_who_says_what_annotators_say_is_beside_none(faces, votes):
    """Of the distributions themselves nothing diverges; the majority is always named."""
    shares = votes[faces.indices].distributions()[:, :7].astype(np.float64)
    shares[shares.sum(axis=1) == 0] = 1 / 7
    perfect = beside_people(shares / shares.sum(axis=1, keepdims=True), faces, votes)
    assert perfect.divergence.value == pytest.approx(0, abs=1e-9)
    assert perfect.correlation == pytest.approx(1)
    assert perfect.majority.value == 1
    assert perfect.lead.value > 0  # no annotator agrees more often than the leader of all


def test_it_is_read_again_as_it_was(people):
    assert TypeAdapter(People).validate_python(json.loads(json.dumps(asdict(people)))) == people
    assert people.source == "votes.csv"


def test_one_that_mien_0_1_wrote_is_read_without_the_score(people):
    content = json.loads(json.dumps(asdict(people)))
    for name in ("balanced", "score", "recalls", "of_eight"):
        del content[name]
    before = replace(people, balanced=None, score=None, recalls={}, of_eight=None)
    assert TypeAdapter(People).validate_python(content) == before


def test_an_evaluation_carries_it(store, faces, votes, predict, people):
    subject = Subject(predict, faces, store.faces(np.arange(80)), "test", None)
    found = subject.evaluated(votes=votes)
    assert found.people == replace(
        people,
        divergence=found.people.divergence,
        correlation=found.people.correlation,
        correlations=found.people.correlations,
    )
    assert found.people.divergence.value == pytest.approx(people.divergence.value, rel=1e-4)


def test_votes_of_other_data_are_refused(store, faces, votes, probabilities):
    shuffled = votes[np.random.default_rng(1).permutation(N)]
    elsewhere = replace(shuffled, rows=np.arange(N), splits=votes.splits)
    with pytest.raises(InputError, match="another order"):
        beside_people(probabilities, faces, elsewhere)
    names = replace(store, rows=np.array([f"a/{i}.png" for i in range(N)]))
    with pytest.raises(InputError, match="not row numbers"):
        beside_people(probabilities, names.faces(faces.indices), votes)
    with pytest.raises(InputError, match="splits"):
        beside_people(probabilities, faces, replace(votes, splits=votes.splits[::-1]))
