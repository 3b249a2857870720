import shutil

import numpy as np
import pandas as pd
import pytest

import charkit
from charkit.answers.evaluation.evaluate import BUDGET
from charkit.answers.evaluation.plan import plan_place, read_plan
from charkit.errors import DataError, MissingError, UsageError
from charkit.store.store import Store
from charkit.tasks import lazy_task

WORDS = {"good": ("fine", "warm", "happy"), "bad": ("cold", "dull", "sad")}


def text_of(label, i):
    words = WORDS[label]
    return f"the {words[i % 3]} {words[i % 2]} thing number {i}"


@pytest.fixture
def files(tmp_path):
    """A labelled sample, a pool, and the labels of the pool by text."""
    names = [("good", "bad")[i % 2] for i in range(160)]
    rows = [(text_of(name, i), name) for i, name in enumerate(names)]
    pd.DataFrame(rows[:60], columns=["body", "stars"]).to_csv(tmp_path / "old.csv", index=False)
    pd.DataFrame(rows[60:], columns=["body", "stars"])[["body"]].to_csv(
        tmp_path / "new.csv", index=False
    )
    return tmp_path, dict(rows)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return Store(tmp_path_factory.mktemp("store"))


@pytest.fixture
def ask(files, tiny_bert, store):
    def command(**options):
        given = {"pool": files[0] / "new.csv", **options}
        task = lazy_task(files[0] / "old.csv", text="body", label="stars")
        return charkit.evaluate(task, encoder=str(tiny_bert), store=store, **given)

    return command


@pytest.fixture
def filled(files, ask):
    """The file of rows to label, filled in; ``change`` edits its table before it is written."""

    def write(change=lambda table: table, *, budget=20, name="test.csv"):
        folder, truth = files
        ask(budget=budget).save(folder / "test.csv")
        table = pd.read_csv(folder / "test.csv")
        table["stars"] = [truth[text] for text in table["body"]]
        change(table).to_csv(folder / name, index=False)
        return folder / name

    return write


def blank(table, rows):
    return table.assign(stars=[None if i in rows else v for i, v in enumerate(table["stars"])])


def test_rows_to_label_with_known_probabilities(ask):
    found = ask(budget=20)
    table = found.to_pandas()
    assert list(table.columns) == ["rank", "line", "text", "label", "weight", "probability"]
    assert len(table) == 20
    assert (table["label"] == "").all()
    assert table["weight"].sum() == pytest.approx(found.plan.n_pool)
    assert (table["weight"] * table["probability"]).to_numpy() == pytest.approx(1, abs=1e-5)
    assert found.outlook.n == 20
    assert found.scores is None
    assert "label these 20 of 100 texts" in found.sentences[0]


def test_more_labels_keep_the_old_ones(ask):
    few, many = ask(budget=10).table, ask(budget=40).table
    assert few["text"].tolist() == many["text"].tolist()[:10]
    assert len(ask().table) == BUDGET


def test_another_seed_draws_other_rows(ask):
    assert set(ask(seed=0).table["text"]) != set(ask(seed=1).table["text"])


def test_labels_give_the_accuracy_with_its_interval(ask, files, filled):
    found = ask(labels=filled())
    assert found.n_tested == 20
    predicted = [found.plan.class_names[code] for code in found.plan.predicted]
    pool = pd.read_csv(files[0] / "new.csv")["body"]
    truth = np.mean([files[1][text] == name for text, name in zip(pool, predicted, strict=True)])
    assert found.accuracy.low <= truth <= found.accuracy.high
    assert found.n_blank == 0
    assert "from 20 test labels" in found.sentences[0]
    assert found.warnings == ()


def test_the_plan_is_kept_and_gives_the_same_estimate(ask, filled):
    path = filled()
    kept = ask(labels=path)
    plan_place(path).unlink()
    again = ask(labels=path)
    assert again.accuracy.mean == kept.accuracy.mean
    assert any("no plan is beside" in note for note in again.notes)


def test_every_row_labelled_is_the_accuracy_itself(ask, filled, files):
    found = ask(labels=filled(budget=100))
    assert found.accuracy.low == pytest.approx(found.accuracy.high)
    assert found.accuracy.mean == pytest.approx(found.n_right / 100)


def test_labels_so_far_and_the_rows_that_are_next(ask, filled):
    found = ask(labels=filled(lambda t: blank(t, range(12, 20))), budget=30)
    assert found.n_tested == 12
    assert found.n_blank == 18
    assert found.warnings == ()
    assert found.outlook.n == 30


def test_rows_left_out_in_between_are_warned_of(ask, filled):
    found = ask(labels=filled(lambda t: blank(t, {2, 5})))
    assert found.n_tested == 18
    assert "2 of the first 20 rows have no label" in found.warnings[0]


def test_one_class_among_the_test_labels_is_warned_of(ask, filled):
    found = ask(labels=filled(lambda t: t.assign(stars="good")))
    assert "all 20 test labels are 'good'" in " ".join(found.warnings)
    assert found.scores.balanced_accuracy is None
    assert "one class" in found.scores.reason


def test_few_of_a_class_give_no_score_of_classes(ask, filled):
    def change(table):
        return table.assign(stars=["bad" if i < 2 else "good" for i in range(len(table))])

    assert "got 2 of one" in ask(labels=filled(change)).scores.reason


def test_scores_of_classes_lie_in_their_intervals(ask, filled):
    scores = ask(labels=filled(budget=60)).scores
    for mean, low, high in (scores.balanced_accuracy, scores.macro_f1):
        assert 0 <= low <= mean <= high <= 1


def test_labels_of_classes_that_the_sample_lacks_count_as_wrong(ask, filled):
    found = ask(labels=filled(lambda t: t.assign(stars=["odd", *t["stars"][1:]])))
    assert "1 test labels are of classes that the labelled sample does not have" in (
        " ".join(found.warnings)
    )
    assert found.n_right < 20


def test_a_label_of_another_spelling_is_refused(ask, filled):
    with pytest.raises(DataError, match="expected 'good', got 'Good'"):
        ask(labels=filled(lambda t: t.assign(stars=t["stars"].replace("good", "Good"))))


def test_no_label_at_all_is_refused(ask, filled):
    with pytest.raises(DataError, match="no row has a test label"):
        ask(labels=filled(lambda t: t.assign(stars=None)))


def test_the_same_text_with_two_labels_is_refused(ask, filled):
    def change(table):
        other = table.iloc[:1].assign(stars="bad" if table["stars"][0] == "good" else "good")
        return pd.concat([table, other])

    with pytest.raises(DataError, match="the same text has two labels"):
        ask(labels=filled(change))


def test_the_same_text_twice_with_one_label_counts_once(ask, filled):
    found = ask(labels=filled(lambda t: pd.concat([t, t.iloc[:3]])))
    assert found.n_tested == 20


def test_rows_that_were_not_drawn_are_left_out(ask, filled, files):
    def change(table):
        drawn = set(table["body"])
        rest = [t for t in pd.read_csv(files[0] / "new.csv")["body"] if t not in drawn][:4]
        more = pd.DataFrame({"body": [*rest, "never seen"], "stars": "good"})
        return pd.concat([table, more])

    found = ask(labels=filled(change))
    assert found.n_tested == 20
    assert "4 labelled rows" in found.warnings[0]
    assert "1 rows of test.csv are not of the pool" in " ".join(found.notes)


def test_rows_of_another_draw_are_refused_where_no_plan_is_kept(ask, filled, files):
    path = filled(name="other.csv")
    with pytest.raises(DataError, match="not those that seed 7 draws"):
        ask(labels=path, seed=7)
    assert ask(labels=path).n_tested == 20


def test_a_changed_pool_or_sample_is_refused(ask, filled, files):
    path = filled()
    for name, reason in (("new.csv", "the pool changed"), ("old.csv", "labelled sample changed")):
        place = files[0] / name
        before = place.read_text()
        place.write_text(before + ("one more text\n" if name == "new.csv" else "one more,bad\n"))
        with pytest.raises(DataError, match=reason):
            ask(labels=path)
        place.write_text(before)
    assert ask(labels=path).n_tested == 20


def test_other_options_than_those_of_the_plan_are_refused(ask, filled):
    path = filled()
    with pytest.raises(DataError, match="--layer is another"):
        ask(labels=path, layer=1)
    with pytest.raises(UsageError, match="--seed differs"):
        ask(labels=path, seed=3)


def test_a_changed_plan_is_refused(ask, filled):
    path = filled()
    place = plan_place(path)
    place.write_text(place.read_text().replace('"seed": 0', '"seed": 1'))
    with pytest.raises(DataError, match="was changed or damaged"):
        ask(labels=path)


@pytest.mark.parametrize("text", ['{"format": 99}', '{"seed": 1}'])
def test_a_plan_of_another_version_is_refused(ask, filled, text):
    path = filled()
    plan_place(path).write_text(text)
    with pytest.raises(DataError, match="no plan of this version"):
        ask(labels=path)


def test_labels_are_not_written_over(ask, filled):
    path = filled()
    with pytest.raises(UsageError, match="20 labels that would be lost"):
        ask(budget=20).save(path)
    ask(labels=path, budget=30).save(path)  # all of them are written again
    assert pd.read_csv(path)["stars"].notna().sum() == 20


@pytest.mark.parametrize(
    ("options", "error", "part"),
    [
        ({"budget": 101}, UsageError, "expected 5 to 100"),
        ({"budget": 4}, UsageError, "expected 5 to 100"),
        ({"budget": 0}, UsageError, "at least 1"),
        ({"budget": 2.5}, UsageError, "whole number"),
        ({"seed": -1}, UsageError, "at least 0"),
        ({"layer": 99}, UsageError, "layer out of range"),
        ({"labels": "absent.csv"}, MissingError, "absent.csv"),
    ],
)
def test_wrong_arguments_are_refused(ask, options, error, part):
    with pytest.raises(error, match=part):
        ask(**options)


def test_another_ending_is_refused(ask, tmp_path):
    with pytest.raises(UsageError, match=r"ends in \.csv"):
        ask().save(tmp_path / "rows.xlsx")


def test_repeats_and_texts_of_the_sample_are_left_out_of_the_pool(ask, files):
    place = files[0] / "new.csv"
    first = pd.read_csv(files[0] / "old.csv")["body"][0]
    place.write_text(place.read_text() + f"{first}\n{text_of('good', 60)}\n")
    notes = " ".join(ask().notes)
    assert "1 texts of the pool are labelled already" in notes
    assert "1 texts of the pool repeat others" in notes


def test_a_pool_that_is_too_small_or_known_is_refused(ask, files):
    (files[0] / "new.csv").write_text("body\nx y\nz z\n")
    with pytest.raises(DataError, match="too small to be tested"):
        ask()
    shutil.copy(files[0] / "old.csv", files[0] / "new.csv")
    with pytest.raises(DataError, match="that all are"):
        ask()


def test_no_pool_and_one_class_are_refused(ask, files):
    with pytest.raises(DataError, match="there is nothing to test on"):
        ask(pool=None)
    (files[0] / "old.csv").write_text("body,stars\nx,a\ny,a\nz,a\n")
    with pytest.raises(DataError, match="there is no head to test"):
        ask()


def test_rows_without_a_label_are_the_pool_where_no_other_is_named(ask, files):
    table = pd.read_csv(files[0] / "old.csv")
    table.loc[20:, "stars"] = None
    table.to_csv(files[0] / "old.csv", index=False)
    found = ask(pool=None, budget=10)
    assert found.plan.n_pool == 40
    assert "learnt from 20 labels" in found.warnings[0]


def test_texts_that_begin_like_formulas_come_back(ask, files, filled):
    place = files[0] / "new.csv"
    formulas = [f"=sum(a{i})" for i in range(20)]
    files[1].update(dict.fromkeys([f"'{f}" for f in formulas], "good"))
    place.write_text("body\n" + "\n".join(formulas) + "\n")
    assert ask(labels=filled(budget=10)).n_tested == 10


def test_the_plan_is_read_as_it_was_written(ask, tmp_path):
    found = ask(budget=15)
    found.save(tmp_path / "x.csv")
    plan = read_plan(tmp_path / "x.csv")
    assert plan.n_drawn == 15
    assert (plan.order == found.plan.order).all()
    assert plan.to_bytes() == found.plan.to_bytes()
    assert "<table" in found._repr_html_()
    assert found.sentences[0] in repr(found)
