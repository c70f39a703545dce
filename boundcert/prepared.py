"""A method made ready for one network, and how samples are cut into chunks for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch

from boundcert.bounds.deployed import SEMANTICS, check_semantics, widened_clip, within_type
from boundcert.bounds.methods import About, Bounder, Limits, Stage, method
from boundcert.bounds.propagate import Evaluation
from boundcert.bounds.saturation import Unsaturated
from boundcert.clip import Clip
from boundcert.errors import UsageError
from boundcert.layers.base import numel
from boundcert.network.graph import Network
from boundcert.network.precision import arithmetic_of
from boundcert.norms import Norm

#: Memory that the values of one chunk may take, in bytes.
CHUNK_BYTES = 16 * 2**20


@dataclass(frozen=True)
class Chunk:
    """Lower bounds (B,), the classes they keep, κ (B, stages) and who proved them."""

    lower: np.ndarray
    predicted: np.ndarray
    kappa: np.ndarray
    rungs: tuple[str, ...]


class Prepared:
    """A method made ready for one network, norm and device."""

    def __init__(
        self,
        network: Network,
        norm: Norm | str | float,
        name: str,
        device: str = "cpu",
        limits: Limits | None = None,
        clip: Clip | None = None,
        semantics: str = SEMANTICS[0],
    ) -> None:
        entry, deployed = method(name), check_semantics(semantics) == "deployed"
        self.norm = Norm.of(norm)
        self.certified = entry.certified
        self.device = usable_device(device)
        self.network = network if self.device.type == "cpu" else network.to(self.device)
        with torch.no_grad():
            self.arithmetic = arithmetic_of(network.source) if deployed else None
            about = About(widened_clip(clip, self.arithmetic), self.arithmetic)
            asked = (self.network, self.norm)
            self.bounder: Bounder = entry.prepare(*asked, limits or Limits(), about)
            saturates = deployed and entry.certified and network.source.head == "Sigmoid"
            self.unsaturated: Unsaturated | None = None
            if saturates and network.source.decision != "sign":
                self.unsaturated = Unsaturated(*asked, entry, limits or Limits(), about)

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The blocks between the reported values."""
        return self.bounder.stages

    @torch.no_grad()
    def __call__(self, rows: torch.Tensor, progress: Callable[[int], None] | None = None) -> Chunk:
        """The bounds of one chunk of float64 samples (B, *input_shape)."""
        x = rows.to(self.device)
        values = self.network.run(x)
        label = values[-1].reshape(len(rows), -1).argmax(dim=1)
        evaluation = Evaluation(self.network, values)
        bounds = self.bounder(evaluation, label)
        if progress is not None:
            progress(len(rows))
        radius, kappa = bounds.radius, bounds.kappa
        if self.unsaturated is not None:
            radius = torch.minimum(radius, self.unsaturated(evaluation, label))
            kappa = torch.cat((torch.minimum(kappa[:, :1], radius[:, None]), kappa[:, 1:]), dim=1)
        if self.arithmetic is not None and self.certified:
            about = (x, self.norm, self.arithmetic)
            first = kappa[:, 0]
            first = torch.where(first.isfinite(), within_type(first, *about), first)
            kappa = torch.cat((first[:, None], kappa[:, 1:]), dim=1)
            radius = within_type(radius, *about)
        return Chunk(
            radius.cpu().numpy(),
            label.cpu().numpy(),
            kappa.cpu().numpy(),
            bounds.rungs,
        )


def usable_device(name: str) -> torch.device:
    """A torch device that exists here.

    Raises
    ------
    UsageError
    """
    if name.split(":")[0] not in ("cpu", "cuda"):
        raise UsageError(f"device {name!r} is unknown; use cpu or cuda")
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise UsageError("device 'cuda' was asked for, but torch sees no GPU here; use cpu")
    return torch.device(name)


def chunks(network: Network, samples: int) -> Iterator[tuple[int, int]]:
    """Ranges of samples whose values fit :data:`CHUNK_BYTES` together."""
    one = 8 * sum(numel(node.shape) for node in network.nodes)
    step = int(min(max(CHUNK_BYTES // max(one, 1), 1), 512))
    for start in range(0, samples, step):
        yield start, min(start + step, samples)
