"""A runtime that errs as much as it may: a network's values with errors where they hurt most."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch

from boundcert.network.graph import Network

Errors = Mapping[int, torch.Tensor]


def erring_values(
    network: Network, x: torch.Tensor, label: torch.Tensor, errors: Errors, seed: int
) -> Iterator[list[torch.Tensor]]:
    """Values of all nodes at x with errors up to ``errors``: random signs, and against the label.

    Parameters
    ----------
    label : (B,) whose margins errors are to lower.
    errors : node → (B, *shape).
    """
    random = torch.Generator().manual_seed(seed % 2**31)
    finite = {k: error.nan_to_num(0.0, 0.0) for k, error in errors.items()}
    none = {k: torch.zeros_like(error) for k, error in finite.items()}
    yield _run(network, x, {k: error * _signs(error, random) for k, error in finite.items()})
    for rival in _rivals(network, x, label):
        taped = {k: zero.clone().requires_grad_() for k, zero in none.items()}
        with torch.enable_grad():
            z = _run(network, x, taped)[-1].reshape(len(x), -1)
            margin = (z.gather(1, label[:, None]) - z.gather(1, rival[:, None])).sum()
            grads = torch.autograd.grad(margin, list(taped.values()), allow_unused=True)
        worst = {
            k: -finite[k] * (torch.zeros_like(finite[k]) if grad is None else grad.sign())
            for k, grad in zip(taped, grads)
        }
        yield _run(network, x, worst)


def _run(network: Network, x: torch.Tensor, errors: Errors) -> list[torch.Tensor]:
    values = [x]
    for k, node in enumerate(network.nodes[1:], start=1):
        assert node.layer is not None
        value = node.layer.forward(*(values[i] for i in node.inputs))
        values.append(value + errors[k] if k in errors else value)
    return [value.detach() if not value.requires_grad else value for value in values]


def _signs(like: torch.Tensor, random: torch.Generator) -> torch.Tensor:
    return torch.randint(-1, 2, like.shape, generator=random).double()


def _rivals(network: Network, x: torch.Tensor, label: torch.Tensor) -> Iterator[torch.Tensor]:
    for step in range(1, min(network.classes, 4)):
        yield (label + step) % network.classes
