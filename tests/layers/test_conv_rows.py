"""Rows through convolutions against the layers' own adjoint."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from network_factory import Builder

from boundcert.layers.rows import Rows, plane_of

CHANNELS, SIDE = 8, 12


@pytest.mark.parametrize("taped", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("stride", [1, 2])
def test_padded_convolutions_in_a_row(stride: int, dtype: torch.dtype, taped: bool) -> None:
    """What a patch has off the plane does not come back through the next convolution."""
    b = Builder((1, CHANNELS, SIDE, SIDE), np.random.default_rng(stride))
    k = b.conv(b.conv(0, CHANNELS, pads=[1] * 4, strides=[stride] * 2), CHANNELS, pads=[1] * 4)
    first, second = (b.nodes[i].layer.in_precision(dtype) for i in (1, 2))
    index = torch.arange(int(np.prod(b.shape(k))))
    unit = torch.eye(len(index), dtype=torch.float64).reshape(-1, *b.shape(k))
    layers = [b.nodes[i].layer for i in (2, 1)]
    wanted = layers[1].transpose(layers[0].transpose(unit))
    owner = torch.zeros_like(index)
    rows = Rows.units(index, owner, torch.ones(len(index), dtype=dtype), b.shape(k))
    if taped:
        rows = rows.with_values(rows.values.requires_grad_(), rows.mass)
    found = first.pull(second.pull(rows, rows.mass), rows.mass)
    plane = plane_of((1, CHANNELS, SIDE, SIDE))
    flat = found.spread(plane).values.detach().double()
    tolerance = 1e-5 if dtype is torch.float32 or taped else 1e-12
    torch.testing.assert_close(flat, wanted.reshape(flat.shape), rtol=tolerance, atol=tolerance)
