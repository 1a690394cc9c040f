"""adopt: SCSA of another code base, with the heads that it was trained with."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
import torch
from plain_scsa import PlainSCSA
from torch import nn

from scsa_yolo import adopt
from scsa_yolo.attention import SCSA

X = torch.rand(2, 32, 21, 30, generator=torch.Generator().manual_seed(1))


class Theirs(PlainSCSA):
    """The equations, with the attributes of the authors' class."""

    def __init__(self, channels: int, head_num: int, window_size: int = 7) -> None:
        super().__init__(channels, heads=head_num, window=window_size)
        self.head_num, self.window_size = head_num, window_size
        self.down_sample_mode = "avg_pool"
        self.ca_gate = nn.Sigmoid()
        self.attn_drop = nn.Dropout(0.0)
        generator = torch.Generator().manual_seed(3)
        for parameter in self.parameters():
            parameter.data += torch.rand(parameter.shape, generator=generator) - 0.3


@pytest.mark.parametrize(("heads", "window"), [(1, 7), (4, 7), (8, 7), (8, 14)])
def test_a_module_computes_what_it_did(heads: int, window: int) -> None:
    theirs = Theirs(32, heads, window).eval()
    ours = adopt(theirs)
    assert type(ours) is SCSA
    assert (ours.heads, ours.window, ours.training) == (heads, window, False)
    torch.testing.assert_close(ours(X), theirs(X))


def test_a_model_is_exchanged_in_place() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 32, 3), nn.ModuleDict({"scsa": Theirs(32, 8)}), Theirs(32, 4)
    )
    keys = list(model.state_dict())
    assert adopt(model) is model
    assert [m.heads for m in model.modules() if isinstance(m, SCSA)] == [8, 4]
    assert list(model.state_dict()) == keys
    with pytest.raises(ValueError, match="holds no SCSA of another code base"):
        adopt(model)


def test_a_state_dict_needs_its_heads() -> None:
    theirs = Theirs(32, 8).eval()
    with pytest.raises(ValueError, match=r"does not hold the number of heads.*heads=8"):
        adopt(theirs.state_dict())
    ours: Any = adopt(theirs.state_dict(), heads=8).eval()
    torch.testing.assert_close(ours(X), theirs(X))


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        (nn.Linear(2, 2), {}, "Linear holds no SCSA"),
        (Theirs(32, 8), {"heads": 4}, "read from the module"),
        (nn.Linear(2, 2).state_dict(), {"heads": 8}, "no state dict of a single SCSA"),
        (Theirs(32, 8).state_dict(), {"heads": 5}, "can't be split into 5 heads"),
    ],
)
def test_refused(source: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        adopt(source, **options)


def test_a_changed_forward_is_refused_and_nothing_is_exchanged() -> None:
    changed = Theirs(32, 8)
    changed.heads = 4  # says 8, computes 4
    model = nn.Sequential(Theirs(32, 8), changed)
    before = deepcopy(list(model))
    with pytest.raises(ValueError, match="does not compute what its options say"):
        adopt(model)
    assert [type(module) for module in model] == [type(module) for module in before]


def test_a_way_of_pooling_that_ours_has_not() -> None:
    theirs = Theirs(32, 8)
    theirs.down_sample_mode = "recombination"
    with pytest.raises(ValueError, match="down_sample_mode='recombination'"):
        adopt(theirs)
