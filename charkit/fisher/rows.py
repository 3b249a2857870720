"""Squared gradients of one weight matrix, text by text, averaged over each output row.

For one text, X (T x d) are the inputs of a linear map and D (T x o) the gradients at its output.
The gradient of the weights is G = D^T X (o x d); the mean of its squares over row j is

    (1/d) sum_i G_ji^2 = (1/d) sum_t D_tj (K D)_tj,        K = X X^T  (T x T)

so that no o x d gradient is ever stored. The right side costs 2 T^2 (d + o) operations, the left
2 T o d and a pass over o d numbers a text. K is symmetric: in long texts only its blocks on and
right of the diagonal are formed, those right of it counted twice, which saves up to half.
"""

from __future__ import annotations

import torch
from torch import Tensor

# Numbers of the gradients that are formed at a time: 4 MB in float32.
_CHUNK_NUMBERS = 1 << 20

# Rows of a block of the Gram matrix. Only blocks right of the diagonal are formed: smaller ones
# save more, and products of fewer than 64 rows are slow.
_BLOCK = 64

# Measured: see `gram_is_cheaper`.
_SLOWER = 2
_NARROW = (torch.bfloat16, torch.float16)

Gram = list[Tensor]
"""Block rows of K = X X^T, see `gram`."""


def wide_dtype(dtype: torch.dtype) -> torch.dtype:
    """Return what sums are kept in: float64 for float64, else float32."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def gram_is_cheaper(seq_len: int, *, n_out: int, n_in: int) -> bool:
    """Return whether the Gram formula takes less time than the gradient itself.

    Operations are equal at T = o d / (o + d); with the pass over its numbers the gradient took as
    long as the Gram formula at about twice that, in both precisions.
    """
    return seq_len * (n_out + n_in) < _SLOWER * n_out * n_in


def gram(inputs: Tensor) -> Gram:
    """Return K = X X^T of each text from inputs (n_samples, T, d).

    Returns:
        Its block rows from the diagonal on, right of the diagonal doubled: sum_s,t K_st D_s D_t
        stays what it was. (n_samples, b, T), (n_samples, b, T - b), ...; a single (n_samples,
        T, T) where products are so fast that blocks do not pay.
    """
    seq_len = inputs.shape[1]
    fast = inputs.dtype in _NARROW or inputs.device.type != "cpu"
    step = -(-seq_len // (1 if fast else max(1, seq_len // _BLOCK)))
    kernel = []
    for start in range(0, seq_len, step):
        block = torch.bmm(inputs[:, start : start + step], inputs[:, start:].mT)
        if block.shape[2] > step:
            block[:, :, step:] *= 2
        kernel.append(block)
    return kernel


def rows_from_gram(kernel: Gram, gradients: Tensor, *, n_in: int) -> Tensor:
    """Return row means of squared gradients from the Gram matrix.

    Args:
        kernel: From `gram`.
        gradients: D of each text, (n_samples, T, o).
        n_in: Inputs d of the linear map.

    Returns:
        Shape (n_samples, o), float32 or float64.
    """
    start, sums = 0, []
    for block in kernel:
        own = gradients[:, start : start + block.shape[1]]
        # sums of narrow numbers are kept in float32; asked for float32, torch would copy them all
        sums.append(torch.bmm(block, gradients[:, start:]).mul_(own).sum(1))
        start += block.shape[1]
    total = sums[0].to(wide_dtype(gradients.dtype))
    for other in sums[1:]:
        total += other
    # rounding can leave a row of zeros a hair below zero; a square never is
    return total.div_(n_in).clamp_min_(0)


def rows_from_gradient(inputs: Tensor, gradients: Tensor) -> Tensor:
    """Return row means of squared gradients by forming D^T X, a few texts at a time.

    Args:
        inputs: X of each text, (n_samples, T, d).
        gradients: D of each text, (n_samples, T, o).

    Returns:
        Shape (n_samples, o), float32 or float64.
    """
    n_samples, _, n_out = gradients.shape
    n_in = inputs.shape[2]
    out = gradients.new_empty((n_samples, n_out), dtype=wide_dtype(gradients.dtype))
    step = max(1, _CHUNK_NUMBERS // (n_out * n_in))
    for first in range(0, n_samples, step):
        part = slice(first, first + step)
        weights = torch.bmm(gradients[part].mT, inputs[part])
        out[part] = weights.square_().mean(2)
    return out


def bias_squares(gradients: Tensor) -> Tensor:
    """Return squared gradients (n_samples, o) of a bias from D (n_samples, T, o)."""
    return gradients.sum(1, dtype=wide_dtype(gradients.dtype)).square_()


def normalised(inputs: Tensor, *, epsilon: float) -> Tensor:
    """Return what a layer norm multiplies by its scale: inputs less mean, over deviation."""
    wide = inputs.to(wide_dtype(inputs.dtype))
    return torch.nn.functional.layer_norm(wide, wide.shape[-1:], eps=epsilon)


def scale_squares(normal: Tensor, gradients: Tensor) -> Tensor:
    """Return squared gradients of a layer norm's scale.

    Args:
        normal: The normalised inputs, (n_samples, T, d).
        gradients: D of each text, (n_samples, T, d).

    Returns:
        Shape (n_samples, d).
    """
    return (normal * gradients).sum(1).square_()
