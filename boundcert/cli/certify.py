"""``boundcert certify``."""

from __future__ import annotations

from boundcert.cli import options as opt
from boundcert.cli.guard import guarded


@guarded
def certify(
    model: opt.MaybeModel = None,
    data: opt.Data = None,
    data_dir: opt.DataDir = None,
    samples: opt.Samples = None,
    indices: opt.Indices = None,
    norm: opt.NormName = "l2",
    method: opt.Method = "auto",
    budget: opt.Budget = None,
    memory: opt.Memory = None,
    attack: opt.AttackOrNone = "deepfool",
    mean: opt.Mean = None,
    std: opt.Std = None,
    range_: opt.Range = None,
    clip: opt.Clip = None,
    semantics: opt.Semantics = "deployed",
    layers: opt.Layers = False,
    device: opt.Device = "cpu",
    out: opt.Out = None,
    resume: opt.Resume = False,
    certificates: opt.Certificates = None,
    input_: opt.Input = None,
    output: opt.Output = None,
    input_shape: opt.InputShape = None,
    decision: opt.Decision = None,
    threshold: opt.Threshold = None,
    correct_only: opt.CorrectOnly = False,
    quiet: opt.Quiet = False,
    json: opt.Json = False,
) -> None:
    """Bracket the smallest adversarial perturbation: certified lower, attacked upper bound.

    Without MODEL and --data it runs on 20 samples of the demo; of other data it takes the first
    10, of random:N all N.
    """
    from boundcert.certificates import Request
    from boundcert.cli.session import perform

    request = Request(
        model=opt.model_options(
            model, mean, std, range_, input_, output, input_shape, decision, threshold
        ),
        data=data,
        data_dir=data_dir,
        samples=opt.sample_count(samples),
        indices=opt.integers("--indices", indices),
        norm=norm,
        method=method,
        budget=budget,
        memory=opt.size(memory),
        attacks=opt.attack_names(attack),
        clip=opt.floats("--clip", clip, 2),
        semantics=semantics,
        device=device,
        layers=layers,
        correct_only=correct_only,
        certificates=certificates,
    )
    perform(request, out, resume, quiet, json)
