"""Commands that cannot be carried out, each with the answer it gets.

Beside the data that cannot be used (`tests/charkit/tasks/bad_inputs.py`): wrong options, encoders,
stores. Every case gets a good file ``good.csv`` and a tiny encoder ``encoder/`` in its folder; names in
`IN_FOLDER` are made paths there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

GOOD = ("sweep", "good.csv", "-e", "encoder", "--executor", "1")
IN_FOLDER = {"good.csv", "encoder", "other.csv", "file/a.safetensors", "old"}
EMBED = ("embed", "good.csv", "-e", "encoder")
ESTIMATE = ("estimate", "good.csv", "-e", "encoder")
NEXT = ("next", "good.csv", "-e", "encoder")
EVALUATE = ("evaluate", "good.csv", "-e", "encoder")


@dataclass(frozen=True)
class BadCommand:
    """One case.

    Attributes:
        name: A short name, also the test's id.
        description: One line for the documentation.
        arguments: The command line; names in the folder are made paths.
        exit_code: What the command ends with.
        fragment: What the message must contain.
        spoil: Changes the folder before the command runs.
        fixture: A fixture of tests/conftest.py that the case needs.
        follow: How the message's advice is followed, where no rule of `tests/following.py` reads
            it: a function that changes the attempt, or the reason why there is nothing to follow.
    """

    name: str
    description: str
    arguments: tuple[str, ...]
    exit_code: int
    fragment: str
    spoil: Callable[[Path], None] | None = None
    fixture: str = ""
    follow: Callable[[Any], None] | str | None = None


def _file_as_cache(folder: Path) -> None:
    (folder / "cache").write_text("")


def _no_weights(folder: Path) -> None:
    (folder / "encoder" / "model.safetensors").unlink()


def _cut_weights(folder: Path) -> None:
    path = folder / "encoder" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])


def _broken_config(folder: Path) -> None:
    (folder / "encoder" / "config.json").write_text("{")


def _other_family(folder: Path) -> None:
    path = folder / "encoder" / "config.json"
    path.write_text(path.read_text().replace('"bert"', '"gpt2"'))


def _no_labels(folder: Path) -> None:
    (folder / "good.csv").write_text("text\nthe cat is good\nthe dog is bad\nthe man runs\n")


def _one_class(folder: Path) -> None:
    rows = [f"the cat is {i} good,a" for i in range(20)]
    (folder / "good.csv").write_text("text,label\n" + "\n".join(rows) + "\n")


def _empty_file(folder: Path) -> None:
    (folder / "good.csv").write_text("")


def _other_texts(content: str) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        (folder / "other.csv").write_text(content)

    return spoil


def _labels(labels: list[str]) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        rows = [f"the cat is {i} good,{label}" for i, label in enumerate(labels)]
        (folder / "good.csv").write_text("text,label\n" + "\n".join(rows) + "\n")

    return spoil


def _old_answer(content: str) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        (folder / "old").mkdir()
        (folder / "old" / "answer.json").write_text(content)

    return spoil


def _half_labelled(folder: Path) -> None:
    _labels(["a", "b"] * 10 + [""] * 20)(folder)


def _file_in_the_way(folder: Path) -> None:
    (folder / "file").write_text("")


def _set(option: str, value: str | None) -> Callable[[Any], None]:
    """Return a follower that gives an option the value that its message asks for."""
    return lambda attempt: attempt.set(option, value)


def _elsewhere(attempt: Any) -> None:
    attempt.set("--cache-dir", str(attempt.folder / "elsewhere"))


def _out(attempt: Any) -> None:
    attempt.set("--out", str(attempt.folder / "out"))


def _another_task(attempt: Any) -> None:
    (attempt.folder / "another.csv").write_text((attempt.folder / "good.csv").read_text())
    attempt.arguments[2:] = [a for a in attempt.arguments[2:] if a != "gone.safetensors"]
    attempt.arguments.insert(2, str(attempt.folder / "another.csv"))


def _costs(attempt: Any) -> None:
    attempt.set("--cost", "1")
    attempt.set("--penalty", "100")


def _other_pool(attempt: Any) -> None:
    _other_texts("text\n" + "".join(f"the dog is {i} bad\n" for i in range(20)))(attempt.folder)
    attempt.set("--pool", str(attempt.folder / "other.csv"))


def _rename_body(attempt: Any) -> None:
    attempt.edit(lambda text: text.replace("body", "text"), "other.csv")


def _add_labels(attempt: Any) -> None:
    rows = [f"the cat is {i} {'good' if i % 2 else 'bad'},{'ab'[i % 2]}" for i in range(40)]
    (attempt.folder / "good.csv").write_text("text,label\n" + "\n".join(rows) + "\n")


def _name_task(attempt: Any) -> None:
    attempt.arguments += [str(attempt.folder / a) if a in IN_FOLDER else a for a in GOOD[1:]]


CASES = [
    BadCommand(
        "unknown_encoder", "A misspelt encoder.",
        ("sweep", "good.csv", "-e", "bert-base-uncasd"), 2, "bert-base-uncased",
    ),
    BadCommand(
        "encoder_offline", "An encoder that would have to be downloaded, with --offline.",
        ("sweep", "good.csv", "-e", "bert-base-uncased", "--offline"), 4, "charkit fetch",
    ),
    BadCommand(
        "encoder_folder_without_weights", "An encoder's folder without model.safetensors.",
        GOOD, 4, "no weights", _no_weights,
        follow="weights are not to be had from the message: their owner has them",
    ),
    BadCommand(
        "encoder_weights_cut", "Weights that are cut off.", GOOD, 3, "cannot be read", _cut_weights,
        follow="weights are not to be had from the message: their owner has them",
    ),
    BadCommand(
        "encoder_config_broken", "A config.json that is not JSON.",
        GOOD, 3, "is damaged", _broken_config,
        follow="a configuration is not to be had from the message: its owner has it",
    ),
    BadCommand(
        "encoder_of_another_family", "A model that is not of the BERT family.",
        GOOD, 2, "family is not supported", _other_family,
        follow="another encoder has to be chosen, and any would do",
    ),
    BadCommand(
        "layer_out_of_range", "A layer that the encoder does not have.",
        (*GOOD, "--layers", "0,9"), 2, "layer out of range: expected 0 (embeddings) to 2",
    ),
    BadCommand(
        "layers_not_numbers", "Layers that are not numbers.",
        (*GOOD, "--layers", "last"), 2, "expected whole numbers and ranges",
        follow=_set("--layers", "0,1-2"),
    ),
    BadCommand(
        "size_too_small", "A training size below 2.", (*GOOD, "--sizes", "1"), 2, "size out of range",
    ),
    BadCommand(
        "size_too_large", "Training sizes that all exceed the sample.",
        (*GOOD, "--sizes", "5000"), 3, "no training size is possible",
    ),
    BadCommand("seeds_missing", "An empty range of seeds.", (*GOOD, "--seeds", "5-3"), 2, "seeds",
        follow=_set("--seeds", "0"),
    ),
    BadCommand(
        "unknown_control", "A misspelt control.",
        (*GOOD, "--controls", "shufled_labels"), 2, "shuffled_labels",
    ),
    BadCommand(
        "unknown_subset", "A misspelt subset.", (*GOOD, "--subset", "clases:a,b"), 2, "classes",
    ),
    BadCommand(
        "unknown_class", "A subset of a class that does not exist.",
        (*GOOD, "--subset", "classes:a,z"), 2, "'z'",
        follow=_set("--subset", "classes:a,b"),
    ),
    BadCommand(
        "max_length_out_of_range", "A maximum length beyond the encoder's.",
        (*GOOD, "--max-length", "9999"), 2, "max_length",
    ),
    BadCommand(
        "device_missing", "CUDA asked for where there is none.",
        (*GOOD, "--device", "cuda"), 4, "device is not there",
    ),
    BadCommand(
        "n_too_large", "charkit layers --n beyond the sample.",
        ("layers", "good.csv", "-e", "encoder", "--n", "999"), 2, "n out of range",
    ),
    BadCommand(
        "encoders_named_twice", "charkit encoders with one encoder named twice.",
        ("encoders", "good.csv", "-e", "encoder", "-e", "encoder"), 2, "each named once",
        follow=lambda attempt: attempt.set("-e", attempt.arguments[-1]),
    ),
    BadCommand(
        "encoders_none_left", "charkit encoders where every encoder is out of reach.",
        ("encoders", "good.csv", "-e", "bert-base-uncased", "-e", "no-such-encoder", "--offline"),
        1, "all 2 encoders failed",
        follow="the message names two: one to fetch, which has its own case, and one that is unknown",
    ),
    BadCommand(
        "one_task_twice", "The same task given twice.",
        ("sweep", "good.csv", "good.csv", "-e", "encoder"), 2, "two tasks have one name",
        follow=lambda attempt: attempt.arguments.pop(2),
    ),
    BadCommand(
        "learner_unknown", "A way to train that is not known.",
        (*GOOD, "--learner", "tunde"), 2, "tuned",
        follow=_set("--learner", "probe"),
    ),
    BadCommand(
        "learner_with_layers", "Layers chosen for learners, which choose their own.",
        (*GOOD, "--learner", "probe", "--layers", "1"), 2, "expected no --layers with it",
        follow=lambda attempt: attempt.arguments.__delitem__(slice(-2, None)),
    ),
    BadCommand(
        "learner_sizes_too_large", "Learners at sizes that the sample does not have.",
        (*GOOD, "--learner", "probe", "--sizes", "4096"), 2, "Choose smaller sizes or add labels",
        follow=_set("--sizes", "16"),
    ),
    BadCommand(
        "cache_is_a_file", "A cache folder that is a file (or may not be written).",
        GOOD, 4, "cache", _file_as_cache,
        follow=_elsewhere,
    ),
    BadCommand(
        "unknown_key", "charkit cache show of a key that is not there.",
        ("cache", "show", "abc"), 2, "unknown key",
        follow="the store is empty: there is no key to name",
    ),
    BadCommand(
        "prune_nothing_chosen", "charkit cache prune without saying what.",
        ("cache", "prune"), 2, "nothing chosen",
        follow=_set("--all", None),
    ),
    BadCommand(
        "prune_bad_duration", "charkit cache prune with a duration that is none.",
        ("cache", "prune", "--older", "soon"), 2, "such as 30d",
    ),
    BadCommand(
        "unknown_kind", "A misspelt kind of result.",
        ("cache", "prune", "--kind", "heds"), 2, "did you mean 'heads'",
    ),
    BadCommand(
        "out_is_a_file", "--out of a file; refused before the work.",
        (*GOOD, "--out", "good.csv"), 4, "--out cannot be written",
    ),
    BadCommand(
        "layers_without_out", "charkit encode --layers without --out: the store keeps all layers.",
        ("encode", "good.csv", "-e", "encoder", "--layers", "0"), 2, "expected --out FOLDER",
        follow=_out,
    ),
    BadCommand(
        "embed_no_labels", "charkit embed of texts without labels: no head can be fitted.",
        EMBED, 3, "no column is known to be the label", _no_labels, follow=_add_labels,
    ),
    BadCommand(
        "embed_one_class", "charkit embed of a single class.", EMBED, 3, "one class", _one_class,
    ),
    BadCommand(
        "embed_empty_file", "charkit embed of an empty file.", EMBED, 3, "is empty", _empty_file,
    ),
    BadCommand(
        "embed_layer_above_head", "charkit embed --layers above the layer that the head reads.",
        (*EMBED, "--head-layer", "1", "--layers", "2"), 2, "layers are out of range",
    ),
    BadCommand(
        "embed_layer_nought", "charkit embed --layers 0: the embeddings are no layer.",
        (*EMBED, "--layers", "0-2"), 2, "layers are out of range",
    ),
    BadCommand(
        "embed_layer_out_of_range", "charkit embed --layers that the encoder lacks.",
        (*EMBED, "--layers", "3"), 2, "layers are out of range: expected some of 1 to 2",
    ),
    BadCommand(
        "embed_head_layer_out_of_range", "charkit embed --head-layer that the encoder lacks.",
        (*EMBED, "--head-layer", "3"), 2, "head_layer is out of range: expected 1 to 2",
    ),
    BadCommand(
        "embed_head_on_embeddings", "charkit embed --head-layer 0: no layer lies below.",
        (*EMBED, "--head-layer", "0"), 2, "head_layer is out of range",
    ),
    BadCommand(
        "embed_head_layers_missing", "charkit embed with an empty range of head layers.",
        (*EMBED, "--head-layers", "2-1"), 2, "no head is named",
        follow=_set("--head-layers", "1-2"),
    ),
    BadCommand(
        "embed_cache_layer_too_high", "charkit embed --cache-layer at a layer that is kept.",
        (*EMBED, "--cache-layer", "1"), 2, "cache_layer is too high",
    ),
    BadCommand(
        "embed_unknown_part", "charkit embed --parts with a misspelt part.",
        (*EMBED, "--parts", "q,vlaue"), 2, "did you mean 'value'",
    ),
    BadCommand(
        "embed_no_part", "charkit embed --parts with no part.",
        (*EMBED, "--parts", ","), 2, "no part is named",
        follow=_set("--parts", "query"),
    ),
    BadCommand(
        "embed_unknown_estimator", "charkit embed --estimator that there is not.",
        (*EMBED, "--estimator", "exactly"), 2, "did you mean 'exact'",
    ),
    BadCommand(
        "embed_no_draws", "charkit embed --draws 0.",
        (*EMBED, "--estimator", "monte_carlo", "--draws", "0"), 2, "n_draws is out of range",
    ),
    BadCommand(
        "embed_variational_draws", "charkit embed --estimator variational with draws.",
        (*EMBED, "--estimator", "variational", "--draws", "3"), 2, "got n_draws with 'variational'",
        follow=lambda attempt: attempt.drop("--draws"),
    ),
    BadCommand(
        "embed_variational_stop_at", "charkit embed --estimator variational with an early stop.",
        (*EMBED, "--estimator", "variational", "--stop-at", "0.9"), 2,
        "got stop_at with 'variational'",
        follow=lambda attempt: attempt.drop("--stop-at"),
    ),
    BadCommand(
        "embed_beta_of_another", "charkit embed --beta with another estimator.",
        (*EMBED, "--beta", "1e-5"), 2, "got beta with 'auto'",
        follow=lambda attempt: attempt.drop("--beta"),
    ),
    BadCommand(
        "embed_beta_nought", "charkit embed --beta 0.",
        (*EMBED, "--estimator", "variational", "--beta", "0"), 2, "beta is out of range",
        follow=_set("--beta", "1e-5"),
    ),
    BadCommand(
        "embed_one_step", "charkit embed --steps 1.",
        (*EMBED, "--estimator", "variational", "--steps", "1"), 2, "n_steps is out of range",
    ),
    BadCommand(
        "embed_variational_bias", "charkit embed --estimator variational of biases.",
        (*EMBED, "--estimator", "variational", "--parts", "q,bias"), 2, "parts are out of range",
        follow=_set("--parts", "q"),
    ),
    BadCommand(
        "embed_stop_at_one", "charkit embed --stop-at of a cosine that no sample reaches.",
        (*EMBED, "--stop-at", "1"), 2, "stop_at is out of range",
        follow=_set("--stop-at", "0.9"),
    ),
    BadCommand(
        "embed_negative_seed", "charkit embed with a negative seed.",
        (*EMBED, "--n", "20", "--seed", "-1"), 2, "seed is out of range",
    ),
    BadCommand(
        "embed_n_too_large", "charkit embed --n beyond the sample.",
        (*EMBED, "--n", "999"), 2, "n out of range",
    ),
    BadCommand(
        "embed_out_is_a_folder", "charkit embed --out of a folder; refused before the work.",
        (*EMBED, "--out", "encoder"), 4, "--out cannot be written",
    ),
    BadCommand(
        "embed_out_below_a_file", "charkit embed --out below a file; refused before the work.",
        (*EMBED, "--out", "file/a.safetensors"), 4, "--out cannot be written", _file_in_the_way,
    ),
    BadCommand(
        "embed_unlabelled_missing", "charkit embed --unlabelled of a file that is not there.",
        (*EMBED, "--unlabelled", "other.csv"), 4, "which is not there",
    ),
    BadCommand(
        "embed_unlabelled_empty", "charkit embed --unlabelled of an empty file.",
        (*EMBED, "--unlabelled", "other.csv"), 3, "is empty", _other_texts(""),
    ),
    BadCommand(
        "embed_unlabelled_other_column", "charkit embed --unlabelled without the texts' column.",
        (*EMBED, "--unlabelled", "other.csv"), 3, "has no column 'text'",
        _other_texts("body\nthe cat\nthe dog\n"), follow=_rename_body,
    ),
    BadCommand(
        "embed_unlabelled_and_eval", "charkit embed with two other samples at once.",
        (*EMBED, "--unlabelled", "other.csv", "--eval", "good.csv"), 2,
        "one sample is embedded at a time",
        follow=lambda attempt: attempt.drop("--unlabelled"),
    ),
    BadCommand(
        "embed_empirical_without_labels", "charkit embed --estimator empirical of unlabelled texts.",
        (*EMBED, "--estimator", "empirical", "--unlabelled", "other.csv"), 3, "needs labels",
        _other_texts("text\nthe cat\n"),
        follow=_set("--estimator", "exact"),
    ),
    BadCommand(
        "distances_of_one", "charkit distances of a single task.",
        ("distances", "good.csv", "-e", "encoder"), 2, "one task has no distance",
        follow=_another_task,
    ),
    BadCommand(
        "unknown_distance", "A misspelt distance.",
        ("distances", "good.csv", "good.csv", "-e", "encoder", "--metric", "log_ration"), 2,
        "did you mean 'log_ratio'",
    ),
    BadCommand(
        "distance_without_reference", "A centred distance of two tasks, with no library.",
        ("distances", "good.csv", "good.csv", "-e", "encoder", "--metric", "log_ratio"), 2,
        "log_ratio needs a reference",
    ),
    BadCommand(
        "distances_embedding_gone", "charkit distances with an embedding that is not there.",
        ("distances", "good.csv", "gone.safetensors", "-e", "encoder"), 4, "no embedding there",
        follow=_another_task,
    ),
    BadCommand(
        "distances_layer_above_head", "charkit distances with layers above the head.",
        ("distances", "good.csv", "good.csv", "-e", "encoder", "--layers", "2", "--head-layer", "1"),
        2, "layers are out of range",
    ),
    BadCommand(
        "nearest_no_library", "charkit nearest with an encoder that has no library.",
        ("nearest", "good.csv", "-e", "encoder"), 4, "no library of known tasks for",
        follow="minilm, which has a library, takes seconds and has tests of its own",
    ),
    BadCommand(
        "nearest_library_gone", "charkit nearest --library of a path that is not there.",
        ("nearest", "good.csv", "-e", "encoder", "--library", "gone"), 4,
        "no library of known tasks",
        follow="making a library is a study of its own",
    ),
    BadCommand(
        "estimate_target_in_per_cent", "charkit estimate --target in per cent.",
        (*ESTIMATE, "--target", "85"), 2, "target is in per cent",
    ),
    BadCommand(
        "estimate_target_above_one", "charkit estimate --target above 1.",
        (*ESTIMATE, "--target", "1.1"), 2, "expected a fraction above 0 and at most 1, got 1.1",
    ),
    BadCommand(
        "estimate_target_nought", "charkit estimate --target 0.",
        (*ESTIMATE, "--target", "0"), 2, "target is out of range",
    ),
    BadCommand(
        "estimate_below_two_a_class",
        "charkit estimate of 64 rows of 47 classes: the numbers, and a verdict against them.",
        ESTIMATE, 5, "64 labels for 47 classes are fewer than two a class",
        _labels([f"class {i % 47}" for i in range(64)]),
        follow="the answer is there, with what is to be doubted: more labels are to be made",
    ),
    BadCommand(
        "estimate_another_class_a_row", "charkit estimate where every row has another class.",
        ESTIMATE, 3, "20 labelled rows for 20 classes are too few",
        _labels([f"class {i}" for i in range(20)]),
    ),
    BadCommand(
        "estimate_two_rows", "charkit estimate of two rows.",
        ESTIMATE, 3, "2 labelled rows for 2 classes are too few", _labels(["a", "b"]),
    ),
    BadCommand(
        "estimate_one_class", "charkit estimate of a single class.", ESTIMATE, 3, "one class", _one_class,
    ),
    BadCommand(
        "estimate_ten_thousand_classes", "charkit estimate of 10,000 classes.",
        ESTIMATE, 3, "10,000 classes in 20,000 rows",
        _labels([f"class {i // 2}" for i in range(20_000)]),
        follow=lambda attempt: _labels(["a", "b"] * 20)(attempt.folder),
    ),
    BadCommand(
        "estimate_classes_out_of_range", "charkit estimate --classes 10000.",
        ("estimate", "good.csv", "-e", "encoder", "--classes", "10000"), 2,
        "classes are out of range",
    ),
    BadCommand(
        "estimate_label_and_classes", "charkit estimate with labels and a number of classes.",
        (*ESTIMATE, "--label", "label", "--classes", "2"), 2, "expected --label or --classes",
    ),
    BadCommand(
        "estimate_no_labels_no_classes", "charkit estimate of texts without labels, and no --classes.",
        ESTIMATE, 3, "For texts without labels give --classes C", _no_labels,
    ),
    BadCommand(
        "estimate_empty_labels", "charkit estimate of a label column that is empty throughout.",
        ESTIMATE, 3, "is empty in all 9 rows", _labels([""] * 9),
    ),
    BadCommand(
        "estimate_amounts", "charkit estimate of a regression task.",
        ESTIMATE, 3, "holds amounts: expected classes", _labels([f"{i}.5" for i in range(30)]),
    ),
    BadCommand(
        "estimate_unknown_learner", "charkit estimate --learners with a name that is not known.",
        (*ESTIMATE, "--learners", "probe,svm"), 2, "unknown learner 'svm': expected some of 'probe'",
        follow=_set("--learners", "probe"),
    ),
    BadCommand(
        "estimate_no_learner", "charkit estimate --learners without a name.",
        (*ESTIMATE, "--learners", ","), 2, "no learner: expected one or more of 'probe'",
        follow=lambda attempt: attempt.drop("--learners"),
    ),
    BadCommand(
        "estimate_amounts_learners", "charkit estimate --learners of a regression task.",
        (*ESTIMATE, "--learners", "probe"), 3, "holds amounts: expected classes",
        _labels([f"{i}.5" for i in range(30)]),
    ),
    BadCommand(
        "estimate_no_earlier_answer", "charkit estimate --earlier of a folder that is not there.",
        (*ESTIMATE, "--earlier", "old"), 4, "no earlier answer: expected the folder of an earlier",
        follow=lambda attempt: attempt.drop("--earlier"),
    ),
    BadCommand(
        "estimate_foreign_answer",
        "charkit estimate --out of a folder whose answer.json is another program's.",
        (*ESTIMATE, "--out", "old"), 3, "answer.json cannot be read: expected what 'charkit estimate",
        _old_answer('{"answer": 42}'), follow=_out,
    ),
    BadCommand(
        "estimate_damaged_answer", "charkit estimate --out of a folder whose answer.json is damaged.",
        (*ESTIMATE, "--out", "old"), 3, "answer.json cannot be read: expected JSON",
        _old_answer('{"accuracy": ['), follow=_out,
    ),
    BadCommand(
        "estimate_cost_without_penalty", "charkit estimate --cost without --penalty.",
        (*ESTIMATE, "--target", "0.8", "--cost", "1"), 2, "a plan needs a target",
        follow=_set("--penalty", "100"),
    ),
    BadCommand(
        "estimate_rounds_without_costs", "charkit estimate --rounds without costs.",
        (*ESTIMATE, "--target", "0.8", "--rounds", "3"), 2, "rounds without costs",
        follow=_costs,
    ),
    BadCommand(
        "estimate_negative_cost", "charkit estimate --cost below 0.",
        (*ESTIMATE, "--target", "0.8", "--cost", "-1", "--penalty", "9"), 2, "costs are out of range",
        follow=_set("--cost", "1"),
    ),
    BadCommand(
        "estimate_eval_missing", "charkit estimate --eval of a file that is not there.",
        (*ESTIMATE, "--eval", "other.csv"), 4, "which is not there",
    ),
    BadCommand(
        "estimate_eval_other_column", "charkit estimate --eval without the texts' column.",
        (*ESTIMATE, "--eval", "other.csv"), 3, "has no column 'text'",
        _other_texts("body\n" + "".join(f"the cat is {i} bad\n" for i in range(40))),
        follow=_rename_body,
    ),
    BadCommand(
        "estimate_eval_other_script", "charkit estimate --eval with texts in another script: a verdict.",
        (*ESTIMATE, "--eval", "other.csv"), 5,
        "the unlabelled texts seem to be in a language or script that encoder hardly knows",
        _other_texts("text\nη γάτα κοιμάται\nο σκύλος τρέχει\nτο βιβλίο είναι καλό\n"),
        follow="the answer is there, with what is to be doubted: there is nothing to mend",
    ),
    BadCommand(
        "estimate_metamodel_tampered", "charkit estimate with a metamodel's file that was changed.",
        ESTIMATE, 3, "damaged or of another version: its content was changed",
        fixture="tampered_metamodel",
        follow="charkit has to be installed again",
    ),
    BadCommand(
        "estimate_metamodel_other_version",
        "charkit estimate with a metamodel's file of another version.",
        ESTIMATE, 3, "damaged or of another version: format: expected 2, got 0",
        fixture="metamodel_of_another_version",
        follow="charkit has to be installed again",
    ),
    BadCommand(
        "estimate_metamodel_missing", "charkit estimate without the metamodel's file.",
        ESTIMATE, 4, "no metamodel: expected the one that comes with charkit",
        fixture="no_metamodel",
        follow="charkit has to be installed again",
    ),
    BadCommand(
        "estimate_out_is_a_file", "charkit estimate --out of a file; refused before the work.",
        (*ESTIMATE, "--out", "good.csv"), 4, "--out cannot be written",
    ),
    BadCommand(
        "next_none", "charkit next -n 0.", (*NEXT, "-n", "0"), 2, "n out of range", _half_labelled,
    ),
    BadCommand(
        "next_unknown_strategy", "charkit next --strategy that there is not.",
        (*NEXT, "--strategy", "margn"), 2, "did you mean 'margin'", _half_labelled,
    ),
    BadCommand(
        "next_negative_seed", "charkit next with a negative seed.",
        (*NEXT, "--seed", "-1"), 2, "seed is out of range", _half_labelled,
    ),
    BadCommand(
        "next_layer_out_of_range", "charkit next --layer that the encoder lacks.",
        (*NEXT, "--layer", "9"), 2, "layer out of range: expected 0 (embeddings) to 2",
        _half_labelled,
    ),
    BadCommand(
        "next_one_class", "charkit next --classes 1.",
        (*NEXT, "--classes", "1"), 2, "classes are out of range",
    ),
    BadCommand(
        "next_out_ending", "charkit next --out with an ending that is not written.",
        (*NEXT, "--out", "next.xlsx"), 2, "expected .csv, .jsonl, .json", _half_labelled,
        follow=lambda attempt: attempt.set("--out", str(attempt.folder / "next.csv")),
    ),
    BadCommand(
        "next_classes_and_pool", "charkit next of texts without labels, and --pool.",
        (*NEXT, "--classes", "2", "--pool", "good.csv"), 2, "expected --classes or --pool, got both",
        follow=lambda attempt: attempt.drop("--pool"),
    ),
    BadCommand(
        "next_nothing_left", "charkit next where every row has a label.",
        NEXT, 3, "expected rows without a label, got none",
        follow=lambda attempt: _half_labelled(attempt.folder),
    ),
    BadCommand(
        "next_pool_all_labelled", "charkit next --pool of texts that are all labelled already.",
        (*NEXT, "--pool", "good.csv"), 3, "got 60 that all are",
        follow=_other_pool,
    ),
    BadCommand(
        "next_pool_missing", "charkit next --pool of a file that is not there.",
        (*NEXT, "--pool", "other.csv"), 4, "which is not there",
        follow=_other_pool,
    ),
    BadCommand(
        "next_pool_other_column", "charkit next --pool without the texts' column.",
        (*NEXT, "--pool", "other.csv"), 3, "has no column 'text'", _other_texts("body\nthe cat\n"),
        follow=_rename_body,
    ),
    BadCommand(
        "next_margin_without_labels", "charkit next --strategy margin without any label.",
        (*NEXT, "--classes", "2", "--strategy", "margin"), 3, "margin needs a head",
        follow=_set("--strategy", "typiclust"),
    ),
    BadCommand(
        "next_without_activeml", "charkit next without the package scikit-activeml.",
        (*NEXT, "--strategy", "badge"), 4, "charkit[next]", _half_labelled, "without_activeml",
    ),
    BadCommand(
        "next_out_is_a_folder", "charkit next --out of a folder; refused before the work.",
        (*NEXT, "--out", "encoder"), 4, "--out cannot be written", _half_labelled,
        follow=lambda attempt: attempt.set("--out", str(attempt.folder / "another" / "next.csv")),
    ),
    BadCommand(
        "evaluate_budget_above_pool", "charkit evaluate --budget of more texts than the pool has.",
        (*EVALUATE, "--budget", "99"), 2, "budget out of range: expected 5 to 20", _half_labelled,
        follow=_set("--budget", "10"),
    ),
    BadCommand(
        "evaluate_no_pool", "charkit evaluate where every row has a label.",
        EVALUATE, 3, "there is nothing to test on",
        follow=lambda attempt: _half_labelled(attempt.folder),
    ),
    BadCommand(
        "evaluate_out_ending", "charkit evaluate --out with an ending that is not written.",
        (*EVALUATE, "--out", "test.xlsx"), 2, "expected a file that ends in .csv", _half_labelled,
        follow=lambda attempt: attempt.set("--out", str(attempt.folder / "test.csv")),
    ),
    BadCommand(
        "evaluate_labels_missing", "charkit evaluate --labels of a file that is not there.",
        (*EVALUATE, "--labels", "other.csv"), 4, "expected the file that --out wrote", _half_labelled,
        follow=lambda attempt: attempt.drop("--labels"),
    ),
    BadCommand(
        "evaluate_layer_out_of_range", "charkit evaluate --layer that the encoder lacks.",
        (*EVALUATE, "--layer", "9"), 2, "layer out of range: expected 0 (embeddings) to 2",
        _half_labelled,
    ),
    BadCommand("no_arguments", "charkit sweep without a task.", ("sweep",), 2, "tasks",
        follow=_name_task,
    ),
    BadCommand(
        "unknown_option", "An option that does not exist.", (*GOOD, "--lable", "stars"), 2, "--label",
    ),
]  # fmt: skip
