"""SCSA as other code bases have it: which options of ours compute the same.

Copies of the authors' code name their tensors as ours are named, so weights fit, whatever the
options are. But public copies have 8 or 4 heads where nothing else is said, ours has 1. Weights
under other options compute something else, without an error.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from scsa_yolo.attention import SCSA

_PARTS = ("local_dwc", "global_dwc_s", "global_dwc_m", "global_dwc_l", "norm_h", "norm_w", "norm")
_MADE_OF = (*_PARTS, "q", "k", "v")
_POOLS = {"avg_pool": "avg", "max_pool": "max"}


def is_foreign(module: nn.Module) -> bool:
    """Tell whether ``module`` is an SCSA in the authors' names that is not ours."""
    named = all(hasattr(module, name) for name in _MADE_OF) and hasattr(module, "head_num")
    return named and not isinstance(module, SCSA)


def foreign_options(module: Any) -> dict[str, Any]:
    """Return the options of our SCSA that say what the authors' attributes say.

    Raises:
        ValueError: It was built in a way that ours does not have.
    """
    pool = getattr(module, "down_sample_mode", "avg_pool")
    window = getattr(module, "window_size", 7)
    if window != -1 and pool not in _POOLS:
        raise ValueError(
            f"{type(module).__name__} has down_sample_mode={pool!r}; ours has"
            f" {' and '.join(map(repr, _POOLS))}"
        )
    gate = getattr(module, "ca_gate", None)
    drop = getattr(module, "attn_drop", None)
    return {
        "heads": int(module.head_num),
        "window": "global" if window == -1 else int(window),
        "kernels": tuple(int(part.kernel_size[0]) for part in _convolutions(module)),
        "pool": _POOLS.get(pool, "avg"),
        "gate": "softmax" if isinstance(gate, nn.Softmax) else "sigmoid",
        "qkv_bias": module.q.bias is not None,
        "attn_drop": float(getattr(drop, "p", 0.0)),
    }


def _convolutions(module: Any) -> list[Any]:
    return [getattr(module, name) for name in _PARTS[:4]]
