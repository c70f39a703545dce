"""The three kinds of record that a results file holds."""

from __future__ import annotations

from dataclasses import dataclass

#: Raised when a field changes its meaning, so that an old file is never read as a new one.
SCHEMA = 5


@dataclass(frozen=True)
class Run:
    """What was asked for: everything needed to recognise the same command again.

    Attributes
    ----------
    schema : :data:`SCHEMA`.
    version : of boundcert.
    command : ``certify`` or ``attack``.
    model, sha256 : the model as the user named it, and the hash of its file.
    norm : ``l1``, ``l2`` or ``linf``.
    method : of the lower bounds; None for ``attack``, which has none.
    budget, memory : seconds a sample and bytes that the method may spend.
    certified : whether the lower bounds are certificates.
    attack : names of the attacks, in order.
    data, data_sha256 : the data as the user named it, and the hash of the chosen samples.
    samples : how many.
    indices : their positions in the data where the user gave them, else None: the first ones.
    mean, std, range : the normalisation as the user gave it.
    clip : the range, in the units of the data, that perturbed inputs stay in; None: they may be
        anything. Both bounds are then about the inputs of that range only.
    semantics : ``deployed``: lower bounds are about the network as a runtime evaluates it in the
        model's own arithmetic; ``exact``: about the function of real numbers.
    input, output, input_shape : choices about the model as the user gave them.
    decision : how the model's own output decides: ``max``, ``min``, or ``sign`` of a single one:
        whether it is above ``threshold``. Radii are about the class that this output shows as it
        is computed, the first of equal ones.
    threshold : of a single output, else None.
    head : what makes that output of the logits, which bounds are on: ``Softmax`` and the like, ""
        for nothing. Radii leave room for its rounding.
    alone : why radii are about samples that go through the model one at a time; "" where samples of
        a batch do not see each other.
    device : where matrix products ran.
    layers : whether samples carry their layers.
    correct_only : whether the summary's means leave out misclassified samples.
    certificates : whether every sample with a lower bound was to get a certificate file.
    """

    schema: int
    version: str
    command: str
    model: str
    sha256: str
    norm: str
    method: str | None
    budget: float
    memory: int | None
    certified: bool
    attack: tuple[str, ...]
    data: str
    data_sha256: str
    samples: int
    indices: tuple[int, ...] | None
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    range: tuple[float, ...] | None
    clip: tuple[float, ...] | None
    semantics: str
    input: str | None
    output: str | None
    input_shape: tuple[int, ...] | None
    decision: str
    threshold: float | None
    head: str
    alone: str
    device: str
    layers: bool
    correct_only: bool
    certificates: bool


@dataclass(frozen=True)
class LayerCost:
    """One stage of the network: how far the value in front of it may be moved.

    Attributes
    ----------
    name, op : node names and operators, joined by ``+``.
    kappa : None where it is not finite: any move is harmless, or nothing is known.
    """

    name: str
    op: str
    kappa: float | None


@dataclass(frozen=True)
class Sample:
    """The bracket of one sample.

    Attributes
    ----------
    index : position in the data.
    label : the data's class, None when unlabelled.
    predicted : the class that onnxruntime gives; −1 where its logits are not finite.
    lower : 0 where nothing is proved; None for ``attack``.
    rung : the method that proved ``lower``, None where nothing is proved.
    upper, attack : norm of a confirmed adversarial perturbation and who found it, None without.
    proved : the radius that its certificate file proves, None where there is none.
    layers : the stages in order, empty unless asked for.
    """

    index: int
    label: int | None
    predicted: int
    lower: float | None
    rung: str | None
    upper: float | None
    attack: str | None
    proved: float | None = None
    layers: tuple[LayerCost, ...] = ()

    @property
    def correct(self) -> bool | None:
        """Whether the network is right, None when unlabelled."""
        return None if self.label is None else self.label == self.predicted

    @property
    def crossed(self) -> bool:
        """Whether the lower bound exceeds the attack, which a certificate never does."""
        return self.lower is not None and self.upper is not None and self.lower > self.upper


@dataclass(frozen=True)
class Summary:
    """A finished run.

    Attributes
    ----------
    samples : number of samples that the means are over.
    accuracy : over all samples of the file, None without labels.
    mean_lower, mean_upper : over the samples that have one, None if none has.
    violations : samples whose lower bound exceeds their upper bound; 0 for a certificate.
    seconds : wall time of the process that finished the file.
    """

    samples: int
    accuracy: float | None
    mean_lower: float | None
    mean_upper: float | None
    violations: int
    seconds: float
