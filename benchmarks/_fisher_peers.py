"""Others' ways to the same numbers: the floor, the loop over texts, and per-sample libraries."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor

from charkit.encoders import Encoder
from charkit.encoders.run import model_inputs, pool
from charkit.encoders.tokens import tokenise
from charkit.fisher import Head
from charkit.fisher.forward import batches, choose_budget, frozen
from charkit.fisher.layout import block_of, sites_of
from charkit.fisher.options import FisherTexts


class Probe(torch.nn.Module):
    """Token ids of texts of one length to logits, with gradients for the weight matrices alone."""

    def __init__(self, encoder: Encoder, head: Head) -> None:
        super().__init__()
        self.model = copy.deepcopy(encoder.model).requires_grad_(False)
        self.model.set_attn_implementation("eager")
        place = next(self.model.parameters())
        self.head = torch.nn.Linear(*reversed(head.weights.shape)).requires_grad_(False)
        self.head.to(place.device, place.dtype)
        self.head.weight.copy_(torch.tensor(head.weights))
        self.head.bias.copy_(torch.tensor(head.bias))
        ours = dict(encoder.model.named_modules())
        names = {id(module): name for name, module in ours.items()}
        self.linears = []
        for layer in range(1, encoder.n_layers + 1):
            for site in sites_of(encoder):
                if site.parts:
                    place = names[id(block_of(encoder, layer).get_submodule(site.path))]
                    self.linears.append(self.model.get_submodule(place))
        for linear in self.linears:
            linear.weight.requires_grad_(True)

    @property
    def weights(self) -> list[Tensor]:
        return [linear.weight for linear in self.linears]

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.model(input_ids=ids).last_hidden_state.mean(1))


def difference(logits: Tensor) -> Tensor:
    """The one column of two classes: sqrt(p0 p1) (z0 - z1), the root held fixed."""
    root = torch.softmax(logits.detach(), -1).prod(-1).sqrt()
    return root * (logits[..., 0] - logits[..., 1])


def row_means(squares: list[Tensor], n_texts: int) -> np.ndarray:
    return torch.cat([s.mean(1) for s in squares]).double().cpu().numpy() / n_texts


def vmap_grad(probe: Probe, *, chunk: int = 8) -> Callable[[Tensor], np.ndarray]:
    names = {id(p): n for n, p in probe.named_parameters()}
    tuned = {names[id(w)]: w.detach() for w in probe.weights}

    def one(weights: dict[str, Tensor], ids: Tensor) -> Tensor:
        return difference(torch.func.functional_call(probe, weights, (ids[None],))[0])

    each = torch.func.vmap(torch.func.grad(one), in_dims=(None, 0))

    def run(ids: Tensor) -> np.ndarray:
        total = [torch.zeros_like(w) for w in tuned.values()]
        for some in ids.split(chunk):
            for held, gradient in zip(total, each(tuned, some).values(), strict=True):
                held += gradient.square_().sum(0)
        return row_means(total, len(ids))

    return run


def backpack_squares(probe: Probe, *, chunk: int = 8) -> Callable[[Tensor], np.ndarray]:
    from backpack import backpack, extend
    from backpack.extensions import SumGradSquared

    own = copy.deepcopy(probe)
    for linear in own.linears:
        extend(linear)

    def run(ids: Tensor) -> np.ndarray:
        total = [torch.zeros_like(w) for w in own.weights]
        for some in ids.split(chunk):
            with backpack(SumGradSquared()):
                difference(own(some)).sum().backward()
            for held, weight in zip(total, own.weights, strict=True):
                held += weight.sum_grad_squared
                weight.grad = None
        return row_means(total, len(ids))

    return run


def laplace_diagonal(
    probe: Probe, *, backend: str = "GGNInterface"
) -> Callable[[Tensor], np.ndarray]:
    from laplace import curvature

    found = getattr(curvature, backend)(probe, "classification")

    def run(ids: Tensor) -> np.ndarray:
        held = np.zeros(0)
        for some in ids.split(2):
            _, flat = found.diag(some, torch.zeros(len(some), dtype=torch.long))
            parts = flat.split([w.numel() for w in probe.weights])
            squares = [p.view_as(w) for p, w in zip(parts, probe.weights, strict=True)]
            rows = row_means(squares, len(ids))
            held = held + rows if len(held) else rows
        return held

    return run


def nngeometry_diagonal(probe: Probe) -> Callable[[Tensor], np.ndarray]:
    from nngeometry.layercollection import LayerCollection
    from nngeometry.metrics import FIM
    from nngeometry.object import PMatDiag

    chosen = LayerCollection()
    for linear in probe.linears:
        chosen.add_layer_from_model(probe, linear)

    def run(ids: Tensor) -> np.ndarray:
        data = torch.utils.data.TensorDataset(ids, torch.zeros(len(ids), dtype=torch.long))
        loader = torch.utils.data.DataLoader(data, batch_size=8)
        made = FIM(
            probe, loader, PMatDiag, layer_collection=chosen, variant="classif_logits", device="cpu"
        )
        parts = made.get_diag().split([w.numel() for w in probe.weights])
        squares = [p.view_as(w) for p, w in zip(parts, probe.weights, strict=True)]
        return row_means(squares, 1)

    return run


PEERS = {
    "vmap(grad)": vmap_grad,
    "BackPACK": backpack_squares,
    "laplace": laplace_diagonal,
    "laplace with curvlinops": partial(laplace_diagonal, backend="CurvlinopsGGN"),
    "nngeometry": nngeometry_diagonal,
}


def loop(probe: Probe, *, seed: int = 0) -> Callable[[Tensor], np.ndarray]:
    """Batches of one text and one label drawn from the head, weights' gradients squared."""
    generator = torch.Generator(probe.weights[0].device).manual_seed(seed)

    def run(ids: Tensor) -> np.ndarray:
        total = [torch.zeros_like(w) for w in probe.weights]
        for some in ids.split(1):
            logs = torch.log_softmax(probe(some)[0], 0)
            label = torch.multinomial(logs.detach().exp(), 1, generator=generator)
            gradients = torch.autograd.grad(logs[label[0]], probe.weights)
            for held, gradient in zip(total, gradients, strict=True):
                held += gradient.square_()
        return row_means(total, len(ids))

    return run


def floor(
    encoder: Encoder, split: FisherTexts, head: Head, *, attention: str, max_length: int
) -> Callable[[], None]:
    """One forward and one backward pass of the same batches, weights frozen.

    The gradient goes to the states that enter the first layer, and nothing is squared or kept.
    """
    weights = torch.tensor(head.weights, device=encoder.device)
    bias = torch.tensor(head.bias, device=encoder.device)
    leaves: list[Tensor] = []

    def enter(module: torch.nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        leaves[:] = [args[0].detach().requires_grad_(True)]
        return (leaves[0], *args[1:])

    def batch(inputs: dict[str, Tensor], mask: Tensor | None) -> None:
        pooled = pool(encoder.model(**inputs).last_hidden_state, mask, "mean")
        logits = pooled.detach().double() @ weights.T + bias
        root = torch.softmax(logits, 1).prod(1, keepdim=True).sqrt()
        gradient = (root * (weights[0] - weights[1])).to(pooled.dtype)
        torch.autograd.grad(pooled, leaves[0], gradient)

    def run() -> None:
        tokens = tokenise(encoder, split.texts, split.pairs, max_length=max_length)
        with frozen(encoder):
            usual = encoder.model.config._attn_implementation
            encoder.model.set_attn_implementation(attention)
            handle = encoder.blocks[0].register_forward_pre_hook(enter)
            try:
                for rows in batches(tokens, token_budget=choose_budget(encoder, None)):
                    batch(*model_inputs(encoder, tokens, rows))
            finally:
                handle.remove()
                encoder.model.set_attn_implementation(usual)

    return run
