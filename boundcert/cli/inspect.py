"""``boundcert inspect``."""

from __future__ import annotations

from boundcert.cli import options as opt
from boundcert.cli.guard import guarded


@guarded
def inspect(
    model: opt.Model,
    norm: opt.NormName = "l2",
    mean: opt.Mean = None,
    std: opt.Std = None,
    range_: opt.Range = None,
    input_: opt.Input = None,
    output: opt.Output = None,
    input_shape: opt.InputShape = None,
    decision: opt.Decision = None,
    threshold: opt.Threshold = None,
    json: opt.Json = False,
) -> None:
    """Show a model's nodes, their operator norms, and whether onnxruntime agrees with us."""
    from json import dumps

    from boundcert.cli.console import table_console
    from boundcert.errors import RefusedInput

    options = opt.model_options(
        model, mean, std, range_, input_, output, input_shape, decision, threshold
    )
    from boundcert.cli.nodes import facts_json, model_facts, print_facts

    facts = model_facts(options, norm)
    if json:
        print(dumps(facts_json(facts)))
    else:
        print_facts(table_console(), facts)
    if facts.check is not None:
        raise RefusedInput(facts.check)
