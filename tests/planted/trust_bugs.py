"""Unsound changes in how a model file is read, and in who says what class it gives."""

from __future__ import annotations

from planted.plant import Bug

TRUST_BUGS = (
    Bug(
        "a softmax behind the logits is not rounded",
        "network.heads:SoftmaxSlack.__call__",
        ("heads",),
        "0.5 * SOFTMAX_SLACK",
        "0.0 * SOFTMAX_SLACK",
    ),
    Bug(
        "the greatest logit is the class, whatever the model's own output shows",
        "network.importer:find_head",
        ("heads",),
        "head, logits = Head(source, node.op_type, head.pick), source",
        'head, logits = Head(source, "", head.pick), source',
    ),
    Bug(
        "saturated outputs are told apart",
        "bounds.saturation:Unsaturated.guard",
        ("saturation",),
        "-self.top, dtype",
        "-1e3, dtype",
    ),
)
