"""``boundcert attack``."""

from __future__ import annotations

from boundcert.cli import options as opt
from boundcert.cli.guard import guarded


@guarded
def attack(
    model: opt.Model,
    data: opt.Data = None,
    data_dir: opt.DataDir = None,
    samples: opt.Samples = None,
    indices: opt.Indices = None,
    norm: opt.NormName = "l2",
    attack: opt.Attack = "deepfool",
    mean: opt.Mean = None,
    std: opt.Std = None,
    range_: opt.Range = None,
    clip: opt.Clip = None,
    device: opt.Device = "cpu",
    out: opt.Out = None,
    resume: opt.Resume = False,
    input_: opt.Input = None,
    output: opt.Output = None,
    input_shape: opt.InputShape = None,
    decision: opt.Decision = None,
    threshold: opt.Threshold = None,
    correct_only: opt.CorrectOnly = False,
    quiet: opt.Quiet = False,
    json: opt.Json = False,
) -> None:
    """Attacked upper bounds only: confirmed adversarial perturbations, no lower bound."""
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
        method=None,
        attacks=opt.attack_names(attack),
        clip=opt.floats("--clip", clip, 2),
        device=device,
        correct_only=correct_only,
    )
    perform(request, out, resume, quiet, json)
