import copy
from contextlib import nullcontext

import pytest
import torch

from bitspike.block import (
    ConvSkip,
    Form,
    MaxPool,
    PlainSkip,
    SpikingConv2d,
    SpikingLinear,
    SumPool,
    quantize_,
    real_form,
)
from bitspike.block.base import blocks_of
from bitspike.block.native import plain
from bitspike.spec import MembraneSpec, WeightSpec
from networks import EventNet, ImageNet, events, images


def conv(skip=None, inputs=2, outputs=4, **options):
    block = SpikingConv2d(inputs, outputs, skip=skip, **options).eval()
    block.weight_spec, block.membrane_spec = WeightSpec(bits=4), MembraneSpec(bits=4)
    return block


def spikes(*shape, seed=0):
    return torch.randint(0, 2, shape, generator=torch.Generator().manual_seed(seed)).float()


def test_form_of_every_state():
    net = ImageNet(None)
    assert net.first.form is Form.TRAINING
    net.eval()
    assert net.first.form is Form.FLOAT
    quantize_(net, "1w2u")
    assert [block.form for _, block in blocks_of(net)] == [Form.INTEGER] * 6
    with real_form(net):
        assert net.first.form is Form.REAL
        net.train()
        assert net.first.form is Form.REAL
    assert net.first.form is Form.TRAINING


def test_real_form_ends_with_an_error_too():
    net = ImageNet()
    with pytest.raises(RuntimeError, match="stop"), real_form(net):
        raise RuntimeError("stop")
    assert not any(block.in_real_form for _, block in blocks_of(net))


@pytest.mark.parametrize(
    ("operands", "error", "message"),
    [
        (
            (spikes(2, 1, 3, 4, 4),),
            ValueError,
            r"shape \[2, 1, 3, 4, 4\]; it takes \[T, B, C, H, W\] with 2 at the third",
        ),
        ((spikes(2, 2, 4, 4),), ValueError, r"it takes \[T, B, C, H, W\]"),
        ((spikes(2, 1, 2, 4, 4), spikes(2, 1, 2, 4, 4)), TypeError, "takes one operand, its input; it got 2"),
    ],
)
def test_wrong_operands(operands, error, message):
    with pytest.raises(error, match=message):
        conv()(*operands)
    with pytest.raises(error, match=message):
        conv().train()(*operands)


@pytest.mark.parametrize("form", ["train", "eval", "real"])
@pytest.mark.parametrize(
    ("skip", "shape", "message"),
    [
        (PlainSkip(), (2, 1, 3, 4, 4), "and 4 channels"),
        (PlainSkip(channel_map=(0, 1, -1, 5)), (2, 1, 5, 4, 4), "and at least 6 channels"),
        (PlainSkip(stride=2), (2, 1, 4, 4, 4), r"gives maps of \[4, 4\], its skip maps of \[2, 2\]"),
        (PlainSkip(stride=4), (2, 1, 4, 4, 4), r"skip maps of \[1, 1\]"),  # would broadcast silently
        (PlainSkip(), (2, 3, 4, 4, 4), r"\[T, B\] = \[2, 1\]"),
        (PlainSkip(), (2, 1, 4), r"shape \[2, 1, 4\]"),
        (ConvSkip(3), (2, 1, 2, 4, 4), "and 3 channels"),
        (ConvSkip(3, stride=2), (2, 1, 3, 4, 4), r"skip maps of \[2, 2\]"),
        (ConvSkip(3, norm="own"), (2, 1, 3, 5, 5), r"skip maps of \[5, 5\]"),
    ],
)
def test_wrong_skips(form, skip, shape, message):
    block = conv(skip).train(form == "train")
    block.in_real_form = form == "real"
    with pytest.raises(ValueError, match=message):
        block(spikes(2, 1, 2, 4, 4), torch.zeros(shape))


def test_a_missing_skip():
    with pytest.raises(TypeError, match="takes two operands, its input and its skip; it got 1"):
        conv(PlainSkip())(spikes(2, 1, 2, 4, 4))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: conv(PlainSkip(channel_map=(0, 1))), "names 2 channels; the block has 4"),
        (lambda: PlainSkip(stride=0), "PlainSkip.stride is 0"),
        (lambda: PlainSkip(channel_map=(0, -2)), "channel numbers, or -1"),
        (lambda: ConvSkip(2, norm="both"), "ConvSkip.norm is 'both'; allowed: shared, own"),
        (lambda: conv(ConvSkip(2, norm="own"), norm=False), "needs a block with norm=True"),
        (lambda: conv(ConvSkip(2), input_scale=0.1), "input_scale must be 1"),
        (lambda: conv(input_scale=0.0), "input_scale is 0.0"),
        (lambda: conv(input_scale=float("nan")), "input_scale is nan"),
    ],
)
def test_blocks_that_make_no_sense(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_values_that_are_not_whole_numbers_are_refused_in_eval():
    for wrong in (0.5, float("nan"), float("inf")):
        value = spikes(2, 1, 2, 4, 4)
        value[1, 0, 0, 0, 0] = wrong
        with pytest.raises(ValueError, match="not whole numbers"):
            conv()(value)


def test_a_plain_skip_of_signed_values_is_refused_in_eval():
    with pytest.raises(ValueError, match="a plain skip takes spikes or counts"):
        conv(PlainSkip())(spikes(2, 1, 2, 4, 4), -spikes(2, 1, 4, 4, 4))


def broken(name, value):
    net = ImageNet()
    with torch.no_grad():
        dict(net.state_dict(keep_vars=True))[name].view(-1)[0] = value
    return net.eval()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize(
    "name", ["first.weight", "second.weight", "first.norm.weight", "second.norm.bias", "first.norm.running_mean"]
)
def test_numbers_that_are_not_finite_are_refused_by_name(name, value):
    with pytest.raises(ValueError, match=f"{name.split('.')[0]} holds .* not finite"):
        broken(name, value)(images())


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0])
def test_broken_variances_are_refused_by_name(value):
    with pytest.raises(ValueError, match=r"second holds .* not .*finite"):
        broken("second.norm.running_var", value)(images())


def test_eval_refuses_what_does_not_fit():
    net = broken("first.norm.weight", 1.0)
    with torch.no_grad():
        net.second.norm.running_var.fill_(1e12)
        net.second.norm.weight.fill_(1e-3)
    with pytest.raises(ValueError, match=r"second: its sums can reach .* does not fit 32 bits"):
        net(images())


@pytest.mark.parametrize("training", [True, False])
def test_batches_of_none_and_one(training):
    net = ImageNet().train(training)
    assert net(images(1)).shape == (3, 1, 4)
    if not training:
        assert net(images(0)).shape == (3, 0, 4)
        with real_form(net):
            assert net(images(0)).shape == (3, 0, 4)


def test_static_images_are_convolved_once(monkeypatch):
    from torch.nn import functional

    seen = []
    plain = functional.conv2d
    monkeypatch.setattr(functional, "conv2d", lambda value, *rest: seen.append(len(value)) or plain(value, *rest))
    net = ImageNet(time_steps=3)
    net(images(4))
    net.eval()(images(4))
    with real_form(net):
        net(images(4))
    assert seen == [4, 12] * 3


def test_deep_copies_and_loaded_states_compute_the_same():
    net = ImageNet().eval()
    assert torch.equal(copy.deepcopy(net)(images()), net(images()))
    other = ImageNet().eval()
    with torch.no_grad():
        other.first.weight.add_(1)
    other.load_state_dict(net.state_dict())
    assert torch.equal(other(images()), net(images()))


def test_eval_follows_the_weights_of_the_moment():
    net = ImageNet("4w4u").eval()
    before = net(images())
    with torch.no_grad():
        net.second.norm.bias.add_(0.5)
    assert not torch.equal(net(images()), before)


def test_eval_of_one_block_by_hand():
    block = SpikingLinear(2, 1, norm=False, bias=True).eval()
    block.weight_spec = WeightSpec(bits=1, scale="power_of_two")
    block.membrane_spec = MembraneSpec(bits=2)
    with torch.no_grad():
        block.weight.copy_(torch.tensor([[0.5, -0.5]]))
        block.bias.fill_(0.25)
    # a = 0.5, step = a * 2^1 = 1: h = .75 stored as 1; then .5 + .75 fires; then -.25 stored as 0
    value = torch.tensor([[[1.0, 0.0]], [[1.0, 0.0]], [[0.0, 1.0]]])
    assert block(value).flatten().tolist() == [0.0, 1.0, 0.0]
    assert block(torch.tensor([[[3.0, 1.0]]])).item() == 1.0  # 1.25
    assert block(torch.tensor([[[1.0, 0.0]]])).item() == 0.0  # 0.75
    with torch.no_grad():
        block.bias.fill_(0.5)
    assert block(torch.tensor([[[1.0, 0.0]]])).item() == 1.0  # exactly the threshold fires
    block.in_real_form = True
    assert block(torch.tensor([[[1.0, 0.0]]])).item() == 1.0


def test_half_precision_between_blocks_keeps_its_dtype():
    block = conv()
    value = spikes(2, 3, 2, 4, 4)
    assert torch.equal(block(value.double()), block(value).double())
    assert torch.equal(block(value.bfloat16()).float(), block(value))


def test_event_net_in_every_layout():
    net = EventNet().eval()
    value = events()
    assert torch.equal(net(value.permute(0, 1, 2, 4, 3).contiguous().permute(0, 1, 2, 4, 3)), net(value))
    assert torch.equal(net(value[:, ::2]), net(value)[:, ::2])


def test_representations_say_the_bits():
    assert "4w4u" in repr(conv())
    assert "3, 2, 32w32u" in repr(SpikingLinear(3, 2))


def test_pooled_sums_are_those_of_fewer_neurons():
    """By hand: sums 1, 0 / 0, 3 of one channel; 3 fires at threshold 1, and a negative gain turns the order around."""
    block = SpikingConv2d(1, 2, 1, norm=True, pool_sums=MaxPool(2)).eval()
    block.membrane_spec, block.weight_spec = MembraneSpec(bits=4), WeightSpec(bits=4)
    with torch.no_grad():
        block.weight.fill_(1.0)
        block.norm.weight.copy_(torch.tensor([0.5, -0.5]))
        block.norm.bias.copy_(torch.tensor([0.0, 1.25]))
    counts = torch.tensor([[1.0, 0.0], [0.0, 3.0]]).reshape(1, 1, 1, 2, 2)
    assert block(counts).flatten().tolist() == [1.0, 1.0]  # 0.5 * 3 and 1.25 - 0.5 * 0
    assert block(counts + 1).flatten().tolist() == [1.0, 0.0]  # 0.5 * 4 and 1.25 - 0.5 * 1
    with real_form(block):
        assert block(counts + 1).flatten().tolist() == [1.0, 0.0]


def test_what_cannot_pool_its_sums_is_refused():
    with pytest.raises(ValueError, match="a block that pools its sums takes no skip"):
        conv(PlainSkip(), 4, 4, pool_sums=MaxPool(2))
    with pytest.raises(TypeError, match=r"pool_sums is SumPool\(.*give MaxPool\(2\)"):
        conv(pool_sums=SumPool(2))
    block = conv(kernel_size=3, padding=0, pool_sums=MaxPool(3))
    with pytest.raises(ValueError, match=r"gives sums of \[2, 2\]; its windows of \[3, 3\] do not fit in"):
        block(spikes(1, 1, 2, 4, 4))


def test_pooled_sums_train_where_the_gradient_belongs():
    """It goes to the largest sum of the window alone; beside it, spikes of pooled sums are pooled themselves."""
    block = SpikingConv2d(1, 1, 1, norm=False, pool_sums=MaxPool(2), pool=SumPool(2))
    with torch.no_grad():
        block.weight.fill_(0.4)
    value = torch.tensor([[1.0, 2.0], [0.0, 1.0]]).repeat(2, 2).reshape(1, 1, 1, 4, 4).requires_grad_()
    block(value).sum().backward()
    place = torch.zeros(2, 2)
    place[0, 1] = 0.4 * 0.8  # slope 1 - |0.8 - 1| of the spike
    assert torch.allclose(value.grad.reshape(4, 4), place.repeat(2, 2))


@pytest.mark.parametrize("kind", [MaxPool, SumPool])
@pytest.mark.parametrize("native", [True, False])
def test_a_map_without_room_for_one_window_of_the_pool_is_refused(kind, native):
    block = SpikingConv2d(1, 2, pool=kind(2)).train()
    said = r"windows of \w+ \(2, 2\) do not fit into \(1, 3\)"
    with pytest.raises(ValueError, match=said), nullcontext() if native else plain():
        block(torch.zeros(2, 3, 1, 1, 3))
    assert block(torch.zeros(2, 3, 1, 2, 3)).shape == (2, 3, 2, 1, 1)
    with pytest.raises(ValueError, match="do not fit into"):
        kind(3)(torch.zeros(1, 1, 1, 2, 4))
