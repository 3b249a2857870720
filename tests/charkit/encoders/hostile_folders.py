"""Encoder folders that are damaged, misleading or hostile, made from a good one.

`FOLDERS` maps a name to a `Hostile`: what is done to a copy of a tiny BERT's folder, and what must
come of it. Anything that breaks one of these rules is a fault: an exception that is no
CharkitError, code that is run, or states that are not those of the folder's own network.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TEXTS = ("the cat runs", "a good book", "the dog sees the bird and sleeps")


@dataclass(frozen=True)
class Hostile:
    """A way to spoil a folder.

    Attributes:
        make: Spoils a folder that holds a good tiny BERT.
        match: A pattern of the message that refuses it; None where it must be read.
        exit_code: The refusal's exit code.
        note: A pattern of the note that must be given where it is read.
        same_states: Whether the states must equal those of the good folder where it is read.

    """

    make: Callable[[Path], None]
    match: str | None
    exit_code: int = 3
    note: str | None = None
    same_states: bool = True


FOLDERS: dict[str, Hostile] = {}


def hostile(
    match: str | None, *, code: int = 3, note: str | None = None, same_states: bool = True
) -> Callable[[Callable[[Path], None]], Callable[[Path], None]]:
    """Enter a function into `FOLDERS` under its own name."""

    def enter(make: Callable[[Path], None]) -> Callable[[Path], None]:
        FOLDERS[make.__name__] = Hostile(make, match, code, note, same_states)
        return make

    return enter


def edit(path: Path, **values: Any) -> None:
    """Change entries of a JSON file; None as a value removes the entry."""
    content = json.loads(path.read_text()) if path.is_file() else {}
    content.update(values)
    path.write_text(json.dumps({k: v for k, v in content.items() if v is not None}))


def tensors(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return load_file(folder / "model.safetensors")


def save(folder: Path, found: dict[str, Any], name: str = "model.safetensors") -> None:
    from safetensors.torch import save_file

    save_file({k: v.contiguous() for k, v in found.items()}, folder / name, {"format": "pt"})


def add(folder: Path, **named: Any) -> None:
    save(folder, tensors(folder) | {k.replace("__", "."): v for k, v in named.items()})


def config_case(
    name: str, match: str | None, *, code: int = 3, note: str | None = None,
    same_states: bool = True, **values: Any
) -> None:  # fmt: skip
    """Enter a folder whose config.json has other values."""

    def make(folder: Path) -> None:
        edit(folder / "config.json", **values)

    FOLDERS[name] = Hostile(make, match, code, note, same_states)


def tokenizer_case(name: str, match: str | None, change: Callable[[dict[str, Any]], Any]) -> None:
    """Enter a folder whose tokenizer.json is changed."""

    def make(folder: Path) -> None:
        content = json.loads((folder / "tokenizer.json").read_text())
        changed = change(content)
        (folder / "tokenizer.json").write_text(json.dumps(content if changed is None else changed))

    FOLDERS[name] = Hostile(make, match)


CODE = "import pathlib; pathlib.Path(__file__).with_name('ran').touch()"

# Networks that would be run as another one
for _type in ("relative_key", "relative_key_query", "alibi", "rope"):
    config_case(f"positions_{_type}", "position_embedding_type", position_embedding_type=_type)
config_case("own_code", "auto_map", auto_map={"AutoModel": "modeling_x.XModel"})
config_case("own_code_elsewhere", "auto_map", auto_map={"AutoModel": "a/b--modeling_x.XModel"})
config_case("rotary", "rotary_emb_base", rotary_emb_base=1000)
config_case("gated", "feed_forward_type", feed_forward_type="geglu")
config_case("decoder", "is_decoder", is_decoder=True)
config_case("cross_attention", "add_cross_attention", add_cross_attention=True)
config_case("pruned", "pruned_heads", pruned_heads={"0": [1]})
config_case("quantised", "quantization_config", quantization_config={"load_in_8bit": True})
config_case("quantiser", "quantization_config", quantization_config={"quant_method": "gptq"})
config_case("weights_elsewhere", "transformers_weights", transformers_weights="o.safetensors")
config_case("config_elsewhere", "configuration_files", configuration_files=["config.4.0.0.json"])
config_case("family_of_decoders", "family is not supported", code=2, model_type="gpt2")
config_case("family_of_encoder_decoders", "family is not supported", code=2, model_type="t5")
config_case("family_of_images", "family is not supported", code=2, model_type="vit")
config_case("family_is_no_word", "family is not supported", code=2, model_type=["bert"])
config_case("another_family", "contradicts itself", architectures=["XLMRobertaModel"])
config_case("another_family_of_text", "contradicts itself", architectures=["T5EncoderModel"])
config_case("no_family", "expected model_type in .*architectures are", code=2, model_type=None)
config_case("layer_types", "config.json cannot be read", layer_types=["full", "local"])
config_case("head_of_one", None, id2label={"0": "a"}, problem_type="single_label_classification")
config_case("unknown_class", None, note="not one of transformers'", architectures=["MyBert"])
# Numbers
config_case("many_layers", "layers", num_hidden_layers=100_000)
config_case("endless_layers", "num_hidden_layers", num_hidden_layers=10**9)
config_case("some_layers_more", "expected 30 layers, got those of 2", num_hidden_layers=30)
config_case("a_layer_less", "expected 1 layers, got those of 2", num_hidden_layers=1)
config_case("words_as_text", "expected vocab_size from 1 to .*, got '102'", vocab_size="102")
config_case("negative_layers", "num_hidden_layers", num_hidden_layers=-1)
config_case("layers_as_text", "num_hidden_layers", num_hidden_layers="2")
config_case("absurd_width", "hidden_size", hidden_size=10**9)
config_case("wide", "embeddings of 64000 numbers", hidden_size=64_000)
config_case("no_width", "lacks a number", hidden_size=None)
config_case("no_heads", "num_attention_heads", num_attention_heads=0)
config_case("odd_heads", "divide", num_attention_heads=5)
config_case("absurd_words", "vocab_size", vocab_size=10**12)
config_case("other_words", "vocabulary of 50 pieces", vocab_size=50)
config_case("absurd_inside", "intermediate_size", intermediate_size=10**12)
config_case("other_inside", "of shape .128,., got .64,", intermediate_size=128)
config_case("absurd_positions", "max_position_embeddings", max_position_embeddings=10**12)
config_case("other_positions", "position_embeddings.weight of shape", max_position_embeddings=128)
config_case("unknown_activation", "cannot be read", hidden_act="wobble")
config_case("dropout_as_text", "cannot be read", hidden_dropout_prob="much")
config_case("norm_as_text", "cannot be read", layer_norm_eps="small")
config_case("pad_beyond", "cannot be read", pad_token_id=10**9)
# How to run: charkit decides that
config_case("flash_attention", None, attn_implementation="flash_attention_2")
config_case("kernels_of_the_hub", None, _attn_implementation="kernels-community/x")
config_case("tuples", None, return_dict=False)
config_case("all_attentions", None, output_attentions=True, output_hidden_states=True)
config_case("dtype_that_is_none", None, dtype="float7", torch_dtype="float7")
config_case("fusion", None, fusion_config={"x": 1})


@hostile("damaged")
def config_is_a_list(folder: Path) -> None:
    (folder / "config.json").write_text("[]")


@hostile("damaged")
def config_is_deep(folder: Path) -> None:
    (folder / "config.json").write_text("[" * 100_000)


@hostile("damaged")
def config_is_no_text(folder: Path) -> None:
    (folder / "config.json").write_bytes(b"\xff\xfe\x00")


@hostile("damaged")
def config_with_an_endless_number(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "bert", "x": ' + "1" * 5000 + "}")


@hostile("too large")
def config_is_huge(folder: Path) -> None:
    with (folder / "config.json").open("wb") as file:
        file.truncate(2**33)


@hostile("no such file", code=4)
def config_is_a_pipe(folder: Path) -> None:
    (folder / "config.json").unlink()
    os.mkfifo(folder / "config.json")


@hostile(None)
def config_with_a_byte_order_mark(folder: Path) -> None:
    path = folder / "config.json"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())


@hostile("It holds a table of word vectors", code=4)
def word_vectors(folder: Path) -> None:
    (folder / "config.json").unlink()
    modules = [{"path": "", "type": "sentence_transformers.models.StaticEmbedding"}]
    (folder / "modules.json").write_text(json.dumps(modules))


@hostile("a folder of the hub's cache: name .*snapshots.abc", code=4)
def hub_cache(folder: Path) -> None:
    snapshot = folder / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    for path in list(folder.iterdir()):
        if path.is_file():
            path.rename(snapshot / path.name)


@hostile("in a folder below", code=4)
def one_folder_up(folder: Path) -> None:
    below = folder / "0_Transformer"
    below.mkdir()
    for path in list(folder.iterdir()):
        if path != below:
            path.rename(below / path.name)


@hostile("Folders below hold one .'checkpoint-1000', 'checkpoint-500'.: name one", code=4)
def checkpoints_below(folder: Path) -> None:
    files = [path for path in folder.iterdir() if path.is_file()]
    for name in ("checkpoint-500", "checkpoint-1000"):
        (folder / name).mkdir()
        for path in files:
            (folder / name / path.name).write_bytes(path.read_bytes())
    for path in files:
        path.unlink()


# Weights
@hostile("expected encoder.layer.1.output.dense.weight of shape .32, 64., got .64, 32.")
def weights_of_another_shape(folder: Path) -> None:
    name = "encoder.layer.1.output.dense.weight"
    save(folder, tensors(folder) | {name: tensors(folder)[name].T})


@hostile("not numbers.*Its weights are damaged: copy them again")
def weights_that_are_no_numbers(folder: Path) -> None:
    found = tensors(folder)
    found["encoder.layer.1.output.dense.weight"][0, 0] = float("nan")
    save(folder, found)


@hostile("adapter")
def adapter_beside(folder: Path) -> None:
    edit(folder / "adapter_config.json", peft_type="LORA", base_model_name_or_path="x")


@hostile("merge_and_unload", code=4)
def adapter_only(folder: Path) -> None:
    (folder / "config.json").unlink()
    edit(folder / "adapter_config.json", peft_type="LORA")


@hostile("hold an adapter")
def adapter_inside(folder: Path) -> None:
    import torch

    name = "encoder.layer.0.attention.self.query.lora_A.default.weight"
    save(folder, tensors(folder) | {name: torch.zeros(4, 32)})


@hostile("does not use")
def weights_of_relative_positions(folder: Path) -> None:
    import torch

    name = "encoder.layer.0.attention.self.distance_embedding.weight"
    save(folder, tensors(folder) | {name: torch.ones(127, 8)})


@hostile("quantised")
def weights_of_eight_bits(folder: Path) -> None:
    import torch

    found = tensors(folder)
    name = "encoder.layer.0.output.dense.weight"
    save(folder, found | {name: (found[name] * 100).to(torch.int8)})


@hostile("quantised")
def weights_with_scales(folder: Path) -> None:
    import torch

    add(folder, encoder__layer__0__output__dense__weight_scale=torch.ones(1))


@hostile("incomplete")
def gated_weights(folder: Path) -> None:
    save(folder, {k: v for k, v in tensors(folder).items() if ".intermediate." not in k})


@hostile("incomplete.*under other names")
def weights_under_other_names(folder: Path) -> None:
    save(folder, {f"other.model.{k}": v for k, v in tensors(folder).items()})


def wrapped_case(name: str, wrapper: str) -> None:
    """Enter a folder whose weights were saved with a wrapper around the encoder."""

    def make(folder: Path) -> None:
        save(folder, {wrapper + k: v for k, v in tensors(folder).items()})

    FOLDERS[name] = Hostile(make, None, note="before the names of all weights is left out")


wrapped_case("weights_of_data_parallel", "module.bert.")
wrapped_case("weights_of_a_compiled_model", "_orig_mod.")
wrapped_case("weights_of_sentence_transformers", "0.auto_model.")
wrapped_case("weights_of_lightning", "model.encoder.")
wrapped_case("weights_of_peft", "base_model.model.bert.")
wrapped_case("weights_of_fsdp", "_fsdp_wrapped_module.")


@hostile(None, note="'backbone.' before the names of all weights is left out")
def weights_of_a_class_with_a_head(folder: Path) -> None:
    import torch

    found = {f"backbone.{k}": v for k, v in tensors(folder).items()}
    save(folder, found | {"head.weight": torch.ones(2, 32), "classifier.bias": torch.ones(2)})


@hostile("hold two encoders: .* got bert.embeddings.* and embeddings")
def weights_of_two_encoders(folder: Path) -> None:
    found = tensors(folder)
    save(folder, found | {f"bert.{k}": v / 2 for k, v in found.items()})


@hostile("hold two encoders: .*LayerNorm.beta and .*LayerNorm.bias")
def weights_under_old_and_new_names(folder: Path) -> None:
    found = tensors(folder)
    name = "encoder.layer.0.output.LayerNorm."
    save(folder, found | {f"{name}beta": found[f"{name}bias"] + 1})


@hostile("no weights: expected model.safetensors in .*, got none", code=4)
def weights_are_a_folder(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").mkdir()


@hostile(None)
def weights_with_heads(folder: Path) -> None:
    import torch

    found = {f"bert.{k}": v for k, v in tensors(folder).items()}
    save(folder, found | {"classifier.weight": torch.ones(2, 32), "cls.bias": torch.ones(3)})


@hostile(None, note="2 weights are not used")
def weights_beside(folder: Path) -> None:
    import torch

    add(folder, projection__weight=torch.ones(4, 32), projection__bias=torch.ones(4))


@hostile(None)
def weights_of_half_precision(folder: Path) -> None:
    import torch

    whole = {k: v.to(torch.bfloat16).to(torch.float32) for k, v in tensors(folder).items()}
    edit(folder / "config.json", dtype="bfloat16")
    save(folder, {k: v.to(torch.bfloat16) for k, v in whole.items()})


FOLDERS["weights_of_half_precision"] = Hostile(weights_of_half_precision, None, same_states=False)


@hostile("pytorch_model.bin", code=4)
def only_a_pickle(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


@hostile("model.onnx", code=4)
def only_onnx(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "model.onnx")


@hostile("only as onnx.model_quantized.onnx", code=4)
def only_onnx_in_a_folder(folder: Path) -> None:
    (folder / "onnx").mkdir()
    (folder / "model.safetensors").rename(folder / "onnx" / "model_quantized.onnx")


@hostile("got encoder.safetensors. If that holds the encoder, rename it", code=4)
def weights_of_another_name(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "encoder.safetensors")


@hostile("expected model.safetensors.index.json", code=4)
def parts_without_an_index(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")


@hostile("no weights", code=4)
def nothing_but_a_configuration(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


@hostile("cannot be read")
def weights_cut_short(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:2000])


@hostile("cannot be read")
def weights_are_empty(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"")


@hostile("cannot be read")
def weights_with_an_endless_header(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", 2**62) + b"{}")


@hostile("cannot be read")
def weights_that_overlap(folder: Path) -> None:
    part = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
    header = json.dumps({"a": part, "b": part}).encode()
    content = struct.pack("<Q", len(header)) + header + bytes(8)
    (folder / "model.safetensors").write_bytes(content)


@hostile("Git LFS|git-lfs")
def weights_are_a_pointer(folder: Path) -> None:
    (folder / "model.safetensors").write_text(
        "version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 90868376\n"
    )


def _sharded(folder: Path, *names: str) -> dict[str, str]:
    found = tensors(folder)
    (folder / "model.safetensors").unlink()
    where = {key: names[i % len(names)] for i, key in enumerate(sorted(found))}
    for name in names:
        if "/" not in name:
            save(folder, {k: found[k] for k in found if where[k] == name}, name)
    edit(folder / "model.safetensors.index.json", metadata={}, weight_map=where)
    return where


@hostile(None)
def weights_in_parts(folder: Path) -> None:
    _sharded(folder, "model-1.safetensors", "weights.safetensors")


@hostile("names a file elsewhere")
def parts_above(folder: Path) -> None:
    _sharded(folder, "../other/model.safetensors")


@hostile("names a file elsewhere")
def parts_by_whole_path(folder: Path) -> None:
    _sharded(folder, "/etc/hostname")


@hostile("no such file")
def a_part_is_gone(folder: Path) -> None:
    _sharded(folder, "model-1.safetensors", "model-2.safetensors")
    (folder / "model-2.safetensors").unlink()


@hostile("another format")
def a_part_is_a_pickle(folder: Path) -> None:
    where = _sharded(folder, "model-1.safetensors")
    where[min(where)] = "pytorch_model.bin"
    edit(folder / "model.safetensors.index.json", weight_map=where)


@hostile("as the index says")
def a_part_lacks_a_tensor(folder: Path) -> None:
    where = _sharded(folder, "model-1.safetensors")
    edit(folder / "model.safetensors.index.json", weight_map=where | {"x": "model-1.safetensors"})


@hostile("weight_map")
def an_index_of_nothing(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    edit(folder / "model.safetensors.index.json", weight_map={})


# Tokenizers
@hostile("no tokenizer", code=4)
def no_tokenizer(folder: Path) -> None:
    for name in ("tokenizer.json", "vocab.txt"):
        (folder / name).unlink(missing_ok=True)


@hostile("auto_map")
def tokenizer_with_code(folder: Path) -> None:
    (folder / "tokenization_x.py").write_text(CODE)
    edit(
        folder / "tokenizer_config.json",
        auto_map={"AutoTokenizer": ["tokenization_x.X", "tokenization_x.X"]},
    )


@hostile("names a file elsewhere")
def tokenizer_elsewhere(folder: Path) -> None:
    edit(folder / "tokenizer_config.json", fast_tokenizer_files=["../tokenizer.json"])


@hostile(None)
def tokenizer_names_files(folder: Path) -> None:
    edit(folder / "tokenizer_config.json", vocab_file="/etc/passwd", tokenizer_file="/etc/passwd")


@hostile("sentencepiece", code=4)
def sentencepiece_only(folder: Path) -> None:
    for name in ("tokenizer.json", "vocab.txt"):
        (folder / name).unlink(missing_ok=True)
    (folder / "spm.model").write_bytes(b"\x0a\x0e\x0a\x05<unk>\x15\x00\x00\x00\x00\x18\x02")


@hostile("too large")
def tokenizer_is_huge(folder: Path) -> None:
    with (folder / "tokenizer.json").open("r+b") as file:
        file.truncate(10**9)


@hostile(None, note="1 of 102 pieces in vocab.txt are not those of tokenizer.json, such as 'new'")
def a_vocabulary_that_was_changed(folder: Path) -> None:
    (folder / "vocab.txt").write_text((folder / "vocab.txt").read_text() + "new\n")


@hostile(None, note="1 of 1 pieces in added_tokens.json are not those of tokenizer.json")
def added_tokens_that_were_not_added(folder: Path) -> None:
    edit(folder / "added_tokens.json", cat=101)


@hostile(None, note="says do_lower_case false, and tokenizer.json the opposite")
def letter_case_in_two_ways(folder: Path) -> None:
    edit(folder / "tokenizer_config.json", do_lower_case=False)


@hostile("merges.txt next to vocab.json", code=4)
def a_vocabulary_without_merges(folder: Path) -> None:
    pieces = (folder / "vocab.txt").read_text().split()
    for name in ("tokenizer.json", "vocab.txt"):
        (folder / name).unlink()
    edit(folder / "vocab.json", **{piece: i for i, piece in enumerate(pieces)})


@hostile("do not suffice for the tokenizer_class")
def a_tokenizer_of_an_unknown_class(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    edit(folder / "tokenizer_config.json", tokenizer_class="MyTokenizer")


def of_class(name: str) -> None:
    """Enter a folder whose settings name a tokenizer of another kind than tokenizer.json."""

    def make(folder: Path) -> None:
        edit(folder / "tokenizer_config.json", tokenizer_class=name)

    note = f"the class {name} cuts texts otherwise than tokenizer.json says"
    FOLDERS[f"tokenizer_of_class_{name}"] = Hostile(make, None, note=note)


for _name in ("RobertaTokenizer", "GPT2Tokenizer", "XLMRobertaTokenizer"):
    of_class(_name)

tokenizer_case(
    "tokenizer_of_tomorrow",
    "upgrade",
    lambda c: c["model"].update(type="WordPieceOfTomorrow"),
)
tokenizer_case("tokenizer_without_model", "cannot be read", lambda c: c.pop("model") and None)
tokenizer_case("tokenizer_is_a_list", "cannot be read|damaged", lambda c: [c])
tokenizer_case("tokenizer_is_empty", "cannot be read", lambda c: {})


def every_kind(folder: Path, name: str) -> Hostile:
    """Spoil a folder in the way of that name, and return what must come of it."""
    (folder / "modeling_x.py").write_text(CODE)
    FOLDERS[name].make(folder)
    return FOLDERS[name]
