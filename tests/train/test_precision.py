"""Which numbers a run computes in, on processors that have bfloat16 and on those that have not."""

import pytest
import torch

from bitspike.train import precision
from bitspike.train.precision import chosen_precision, has_bfloat16

CPU = torch.device("cpu")


@pytest.fixture(params=["avx512_bf16", "amx_bf16", "bf16", None])
def able(request, monkeypatch):
    """A processor with one of the instruction sets, or none."""
    monkeypatch.setattr(
        torch.cpu, "get_capabilities", lambda: {"avx2": True, request.param or "sse": True}, raising=False
    )
    return request.param is not None


def test_auto_takes_bfloat16_where_there_is_one(able):
    assert has_bfloat16(CPU) is able
    assert chosen_precision("auto", CPU) == ("bfloat16" if able else "float32")
    assert chosen_precision("float32", CPU) == "float32"


def test_bfloat16_is_refused_where_it_would_be_emulated(able):
    if able:
        assert chosen_precision("bfloat16", CPU) == "bfloat16"
        return
    with pytest.raises(ValueError, match=r'"bfloat16", which this processor does not compute with; give .*"auto"'):
        chosen_precision("bfloat16", CPU)


def test_other_devices(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: False)
    with pytest.raises(ValueError, match="the device cuda:0 does not compute with"):
        chosen_precision("bfloat16", torch.device("cuda:0"))
    assert chosen_precision("auto", torch.device("cuda:0")) == "float32"
    assert not has_bfloat16(torch.device("meta"))


def test_an_older_torch_is_asked_otherwise(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    assert precision.has_bfloat16(CPU)
