"""Squared gradients of one weight matrix, text by text, averaged over each output row.

For one text, X (T x d) are the inputs of a linear map and D (T x o) the gradients at its output.
The gradient of the weights is G = D^T X (o x d); the mean of its squares over row j is

    (1/d) sum_i G_ji^2 = (1/d) sum_t D_tj (K D)_tj,        K = X X^T  (T x T)

so that no o x d gradient is ever stored. The right side costs 2 T^2 (d + o) operations, the left
2 T o d: the right is cheaper while T < o d / (o + d).
"""

from __future__ import annotations

import torch
from torch import Tensor

_CHUNK_NUMBERS = 1 << 22


def wide_dtype(dtype: torch.dtype) -> torch.dtype:
    """Return what sums are kept in: float64 for float64, else float32."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def gram_is_cheaper(seq_len: int, *, n_out: int, n_in: int) -> bool:
    """Tell whether the Gram formula takes fewer operations than the gradient itself."""
    return seq_len * (n_out + n_in) < n_out * n_in


def gram(inputs: Tensor) -> Tensor:
    """Return K = X X^T of each text, (n_samples, T, T), from inputs (n_samples, T, d)."""
    return torch.bmm(inputs, inputs.mT)


def rows_from_gram(kernel: Tensor, gradients: Tensor, *, n_in: int) -> Tensor:
    """Return row means of squared gradients from the Gram matrix.

    Args:
        kernel: K of each text, (n_samples, T, T).
        gradients: D of each text, (n_samples, T, o).
        n_in: Inputs d of the linear map.

    Returns:
        Shape (n_samples, o), float32 or float64.
    """
    product = torch.bmm(kernel, gradients).mul_(gradients)
    # rounding can leave a row of noughts a hair below nought; a square never is
    return product.sum(1, dtype=wide_dtype(product.dtype)).div_(n_in).clamp_min_(0)


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
        out[part] = weights.square_().mean(2, dtype=out.dtype)
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
