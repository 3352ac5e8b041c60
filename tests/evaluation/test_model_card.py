"""The model card: its figures are those of the evaluations, it says nothing of the machine, it is honest."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest

from mien.errors import InputError
from mien.evaluation import score
from mien.evaluation.evaluation import Evaluation
from mien.evaluation.metrics import cross_entropy
from mien.evaluation.people import Estimate, People
from mien.evaluation.text import figure_text
from mien.expressions import SEVEN
from mien.pages import write_card
from mien.recipe import to_dict


@pytest.fixture
def run(make_run, make_store):
    """A run evaluated on both splits, whose commands and data have paths; too sure of what it half knows."""
    run = make_run("carded")
    store = make_store([0] * 30 + [1] * 40 + [2] * 40)
    labels = {face.tobytes(): label for face, label in zip(store.pixels, store.labels, strict=True)}

    def predict(faces):
        noise = faces.reshape(len(faces), -1)[:, :7].astype(np.float64) / 32
        known = [labels.get(face.tobytes(), 0) for face in faces]
        exponents = np.exp(noise + 5 * np.eye(7)[known])
        return (exponents / exponents.sum(axis=1, keepdims=True)).astype(np.float32)

    environment = run.environment()
    environment["data"]["source"] = "/home/jdoe/secret/faces.csv"
    environment["command"] = (
        "mien train carded --data /home/jdoe/secret/faces.csv --set targets.votes=/home/jdoe/v.csv"
    )
    run.environment_path.write_text(json.dumps(environment))
    for split, rows in (("validation", np.arange(30, 70)), ("test", np.arange(70, 110))):
        evaluation = score(predict, store.faces(rows), store.digests[:30], split=split)
        command = f"mien evaluate /home/jdoe/carded --split {split}"
        replace(evaluation, command=command, weights=run.weights_digest()).save(run)
    return run


def test_its_figures_are_those_of_the_evaluation(run, tmp_path):
    files = write_card(run, tmp_path / "out", licence="CC0-1.0")
    text = files.markdown.read_text()
    saved = run.evaluation("test")["views"]["none"]["official"]
    assert figure_text("accuracy", saved["accuracy"]) in text
    assert figure_text("cross-entropy", saved["cross_entropy"]) in text
    for name, own in zip(run.evaluation("test")["expressions"], saved["per_class"], strict=True):
        line = next(row for row in text.splitlines() if row.startswith(f"| {name} |"))
        assert figure_text("", own["recall"]) in line
        assert figure_text("", own["precision"]) in line
    assert "CC0-1.0" in text
    assert "mien evaluate carded --split test" in text
    assert "mien train carded --data faces.csv --set targets.votes=v.csv" in text


def test_the_page_shows_what_the_text_says_and_loads_nothing(run, tmp_path):
    files = write_card(run, tmp_path)
    named = write_card(run, tmp_path / "named", name="mine")
    for content in (named.html.read_text(), named.markdown.read_text()):
        assert "Model card: mine" in content
    page = files.html.read_text()
    assert "<h1>Model card: carded</h1>" in page
    rules = [line for line in files.markdown.read_text().splitlines() if line.startswith("|---")]
    assert page.count("<table>") == len(rules) == 4
    assert "src=" not in page
    assert "href=" not in page


def test_it_says_where_the_weights_came_from(run, tmp_path):
    assert "| initial weights | random |" in write_card(run, tmp_path).markdown.read_text()
    recipe = to_dict(run.recipe()) | {"init": "/home/jdoe/runs/mien-s", "init_share": 0.4}
    run.recipe_path.write_text(json.dumps(recipe))
    text = write_card(run, tmp_path).markdown.read_text()
    assert "| initial weights | mien-s; 40 % of them in what is kept |" in text


def test_it_says_nothing_of_the_machine(run, tmp_path):
    files = write_card(run, tmp_path)
    for file in (files.markdown, files.html):
        assert "jdoe" not in file.read_text()
        assert "faces.csv" in file.read_text()


def test_the_temperature_is_fitted_on_validation_alone(run, tmp_path):
    """Found again by trying many on the validation probabilities."""
    with run.probabilities_path("validation").open() as handle:
        lines = [line.strip().split(",") for line in handle][1:]
    names = run.evaluation("validation")["expressions"]
    labels = np.array([names.index(line[1]) for line in lines])
    logits = np.log(np.array([line[3:10] for line in lines], dtype=np.float64))

    def loss(temperature):
        scaled = np.exp(logits / temperature)
        return cross_entropy(scaled / scaled.sum(axis=1, keepdims=True), labels)

    tried = np.geomspace(0.05, 50, 20_001)
    best = min(tried, key=loss)
    text = write_card(run, tmp_path).markdown.read_text()
    said = float(text.split("with the temperature ")[1].split()[0])
    assert said == pytest.approx(best, rel=2e-3)


def test_a_name_with_html_in_it_stays_text(run, tmp_path):
    recipe = to_dict(run.recipe())
    recipe["name"] = "<script>alert(1)</script>"
    run.recipe_path.write_text(json.dumps(recipe))
    page = write_card(run, tmp_path).html.read_text()
    assert "<script>" not in page


def test_votes_and_teachers_are_named(run, tmp_path):
    recipe = to_dict(run.recipe())
    recipe["targets"] = {
        "votes": "/data/fer2013new.csv",
        "votes_share": 0.5,
        "teacher": "/runs/soft-targets",
        "teacher_share": 0.8,
    }
    run.recipe_path.write_text(json.dumps(recipe))
    text = write_card(run, tmp_path).markdown.read_text()
    assert "fer2013new.csv" in text
    assert "soft-targets" in text
    assert "10 % of what it learnt" in text.replace("\n", " ")
    assert "80 % of what it learnt" in text.replace("\n", " ")
    assert "/data/" not in text


def test_scores_on_other_data_are_not_the_cards(run, tmp_path):
    """`evaluate --data OTHER --split test` writes the same file."""
    path = run.evaluation_path("test")
    content = json.loads(path.read_text())
    content["data"]["fingerprint"] = "e" * 64
    path.write_text(json.dumps(content))
    text = write_card(run, tmp_path / "out").markdown.read_text()
    assert "mien evaluate carded --split validation" in text
    assert "mien evaluate carded --split test" not in text


def test_a_run_without_scores_of_its_weights_gets_no_card(run, make_run, tmp_path):
    with pytest.raises(InputError, match="mien evaluate"):
        write_card(make_run("bare"), tmp_path / "card")
    run.best_weights.parent.mkdir(parents=True)
    run.best_weights.write_bytes(b"other weights than were scored")
    with pytest.raises(InputError, match="scores of the weights it has now"):
        write_card(run, tmp_path / "card")
    assert not (tmp_path / "card").exists()


def test_without_validation_scores_calibration_is_said_not_to_be_measured(run, tmp_path):
    run.evaluation_path("validation").unlink()
    text = write_card(run, tmp_path).markdown.read_text()
    assert "Not measured: it takes scores of both" in text


def test_doubt_and_people_are_told_where_they_were_measured(run, tmp_path):
    plain = write_card(run, tmp_path).markdown.read_text()
    assert "Beside people" not in plain
    assert "(AURC)" in plain
    path = run.evaluation_path("test")
    content = json.loads(path.read_text())
    people = People(
        source="votes.csv", expressions=SEVEN, compared=9, divergence=Estimate(0.8, (0.7, 0.9)),
        spread=0.5, correlation=0.6, correlations={}, decided=8, majority=Estimate(0.625, (0.5, 0.7)),
        labels=0.75, no_face=1, unknown=2, elsewhere=3, annotated=7, annotator=Estimate(0.8, (0.7, 0.9)),
        network=Estimate(0.6, (0.5, 0.7)), lead=Estimate(-0.2, (-0.3, -0.1)),
    )  # fmt: skip
    content["people"] = asdict(people)
    path.write_text(json.dumps(content))
    text = write_card(run, tmp_path).markdown.read_text()
    assert "| names what the majority names | 62.50 % | 50.00 to 70.00 | 8 |" in text
    assert "| the network's lead, points | -20.00 | -30.00 to -10.00 | 7 |" in text
    assert "the network does not know: 3." in text


def test_what_most_annotators_name_judges_expressions_and_doubt(run, tmp_path):
    """Every label is wrong here, and every majority right: the card says so of both."""
    for split in ("validation", "test"):
        found = Evaluation.load(run, split)
        answers = found.probabilities["none"].argmax(axis=1)
        majority = np.where(np.arange(len(found)) < 5, -1, answers)
        replace(found, majority=majority).save(run)
        read = Evaluation.load(run, split)
        assert (read.majority == majority).all()
        assert (read.labels == found.labels).all()
        assert (read.probabilities["none"] == found.probabilities["none"]).all()
    text = write_card(run, tmp_path).markdown.read_text()
    assert "by the majority of FER+'s annotators" in text
    happy = next(row for row in text.splitlines() if row.startswith("| happy |"))
    assert happy.count("100.00 %") == 3  # recall, precision, F1
    assert " taken for " not in text
    assert "92 % of all answers are right or more: none is called uncertain" in text


def test_figures_of_the_model_file_come_first_where_offsets_change_its_answers(
    run, tmp_path, monkeypatch
):
    monkeypatch.setattr("mien.evaluation.calibration.LEAST_OF_EACH", 1)  # the faces here are few
    plain = write_card(run, tmp_path).markdown.read_text()
    recipe = to_dict(run.recipe())
    recipe["objective"]["logit_adjustment"] = 1.0
    run.recipe_path.write_text(json.dumps(recipe))

    text = write_card(run, tmp_path).markdown.read_text()

    (line,) = (row for row in text.splitlines() if row.startswith("| accuracy |"))
    _, _, calibrated = (cell.strip() for cell in line.strip("|").split("|"))
    assert f"on **{calibrated}** of 40 test faces" in " ".join(text.split())
    assert text.index("as the model file answers") < text.index("### All scores, as it was trained")
    assert "The model file is right" not in plain
