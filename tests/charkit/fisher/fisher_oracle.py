"""Explicit per-text, per-label autograd in float64: slow, plain, and sharing no code with charkit."""

from __future__ import annotations

import torch

BERT = {
    "query": ["attention.self.query.weight"],
    "key": ["attention.self.key.weight"],
    "value": ["attention.self.value.weight"],
    "attention_out": ["attention.output.dense.weight"],
    "ffn_in": ["intermediate.dense.weight"],
    "ffn_out": ["output.dense.weight"],
    "layer_norm": ["attention.output.LayerNorm.weight", "output.LayerNorm.weight"],
    "bias": [
        "attention.self.query.bias",
        "attention.self.key.bias",
        "attention.self.value.bias",
        "attention.output.dense.bias",
        "intermediate.dense.bias",
        "output.dense.bias",
        "attention.output.LayerNorm.bias",
        "output.LayerNorm.bias",
    ],
}


def renamed(names, pairs):
    def change(name):
        for old, new in pairs:
            name = name.replace(old, new)
        return name

    return {part: [change(n) for n in group] for part, group in names.items()}


DISTIL = [
    ("attention.self.query", "attention.q_lin"),
    ("attention.self.key", "attention.k_lin"),
    ("attention.self.value", "attention.v_lin"),
    ("attention.output.dense", "attention.out_lin"),
    ("intermediate.dense", "ffn.lin1"),
    ("attention.output.LayerNorm", "sa_layer_norm"),
    ("output.dense", "ffn.lin2"),
    ("output.LayerNorm", "output_layer_norm"),
]
MPNET = [
    ("attention.self.query", "attention.attn.q"),
    ("attention.self.key", "attention.attn.k"),
    ("attention.self.value", "attention.attn.v"),
    ("attention.output.dense", "attention.attn.o"),
    ("attention.output.LayerNorm", "attention.LayerNorm"),
]
ALBERT = [
    ("attention.self.", "albert_layers.0.attention."),
    ("attention.output.dense", "albert_layers.0.attention.dense"),
    ("intermediate.dense", "albert_layers.0.ffn"),
    ("attention.output.LayerNorm", "albert_layers.0.attention.LayerNorm"),
    ("output.dense", "albert_layers.0.ffn_output"),
    ("output.LayerNorm", "albert_layers.0.full_layer_layer_norm"),
]
V2 = [(f"attention.self.{n}", f"attention.self.{n}_proj") for n in ("query", "key", "value")]
DEBERTA = {
    **BERT,
    "bias": ["attention.self.q_bias", "attention.self.v_bias", *BERT["bias"][3:]],
}
MODERN = {
    "attention_out": ["attn.Wo.weight"],
    "ffn_in": ["mlp.Wi.weight"],
    "ffn_out": ["mlp.Wo.weight"],
    "layer_norm": ["attn_norm.weight", "mlp_norm.weight"],
}
NAMES = {
    "bert": ("encoder.layer.", BERT),
    "roberta": ("encoder.layer.", BERT),
    "xlm-roberta": ("encoder.layer.", BERT),
    "camembert": ("encoder.layer.", BERT),
    "electra": ("encoder.layer.", BERT),
    "distilbert": ("transformer.layer.", renamed(BERT, DISTIL)),
    "albert": ("encoder.albert_layer_groups.", renamed(BERT, ALBERT)),
    "mpnet": ("encoder.layer.", renamed(BERT, MPNET)),
    "deberta-v2": ("encoder.layer.", renamed(BERT, V2)),
    "deberta": ("encoder.layer.", DEBERTA),
    "modernbert": ("layers.", MODERN),
}


def plain_model(folder, family):
    """Return the float64 model; ALBERT's shared layers become copies, one a layer."""
    from transformers import AutoConfig, AutoModel

    model = AutoModel.from_pretrained(str(folder))
    if family == "albert":
        config = AutoConfig.from_pretrained(str(folder))
        config.num_hidden_groups = config.num_hidden_layers
        untied = AutoModel.from_config(config)
        state = model.state_dict()
        for name in untied.state_dict():
            source = name
            for k in range(config.num_hidden_layers):
                source = source.replace(f"layer_groups.{k}.", "layer_groups.0.")
            untied.state_dict()[name].copy_(state[source])
        model = untied
    return model.double().eval()


def part_rows(model, family, layer, part, squares):
    """Return the numbers of one part from squared gradients by parameter name."""
    stem, names = NAMES[family]
    stem = f"{stem}{layer - 1}."
    if part in ("query", "key", "value") and family in ("modernbert", "deberta"):
        fused = "attn.Wqkv.weight" if family == "modernbert" else "attention.self.in_proj.weight"
        rows = squares[stem + fused].mean(1)
        place = ("query", "key", "value").index(part)
        if family == "modernbert":
            return rows.chunk(3)[place]
        heads = model.config.num_attention_heads
        return torch.cat([piece.chunk(3)[place] for piece in rows.chunk(heads)])
    found = [squares[stem + n] for n in names.get(part, []) if stem + n in squares]
    return torch.cat([g.mean(1) if g.ndim == 2 else g for g in found]) if found else None


def oracle_rows(
    folder,
    encoder,
    split,
    head,
    *,
    head_layer,
    layers,
    parts,
    pooling="mean",
    empirical=False,
):
    """Return (n_samples, size): sum_y p(y) (grad log p(y))^2 of each text, averaged by row."""
    model = plain_model(folder, encoder.family)
    stem = NAMES[encoder.family][0]
    tuned = {n: p for n, p in model.named_parameters() if n.startswith(stem)}
    out = []
    for i, text in enumerate(split.texts):
        pair = None if split.pairs is None else split.pairs[i]
        inputs = encoder.tokenizer(text, pair, return_tensors="pt")
        if not encoder.takes_segments:
            inputs.pop("token_type_ids", None)
        hidden = model(**inputs, output_hidden_states=True).hidden_states[head_layer][0]
        pooled = {"mean": hidden.mean(0), "cls": hidden[0], "max": hidden.amax(0)}[pooling]
        z = torch.tensor(head.weights) @ pooled + torch.tensor(head.bias)
        if head.kind == "regression":  # E_y (y - z)^2 / v^2 = 1 / v
            target = [(1 / head.variance, z[0])]
            if empirical:
                y = float(split.labels[i])
                target = [(1.0, -((y - z[0]) ** 2) / (2 * head.variance))]
        else:
            logs = torch.log_softmax(z, 0)
            shares = logs.detach().exp()
            target = [(float(shares[c]), logs[c]) for c in range(len(z))]
            if empirical:
                target = [(1.0, logs[int(split.labels[i])])]
        squares = {n: torch.zeros_like(p) for n, p in tuned.items()}
        for weight, value in target:
            grads = torch.autograd.grad(
                value, list(tuned.values()), retain_graph=True, allow_unused=True
            )
            for name, grad in zip(tuned, grads, strict=True):
                if grad is not None:
                    squares[name] += weight * grad**2
        found = [part_rows(model, encoder.family, k, p, squares) for k in layers for p in parts]
        out.append(torch.cat([f for f in found if f is not None]))
    return torch.stack(out).numpy()
