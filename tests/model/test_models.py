"""The networks themselves: parameter counts, shapes, options, refusals."""

import pytest
import torch

from bitspike.block.norm import ChannelNorm
from bitspike.model import create_model, list_models

EVENT_MODELS = ("vggsnn", "small_events", "small_touch")
SLIM = {"first": 16, "widths": (16, 32, 64)}


def parameters(net):
    return sum(parameter.numel() for parameter in net.parameters())


def sample_input(net, batch=2, seed=0):
    """Random images or event counts of the shape the network was made for."""
    generator = torch.Generator().manual_seed(seed)
    shape = tuple(net.model_options["input_shape"])
    if net.model_name in EVENT_MODELS:
        shape = (net.model_options["time_steps"], batch, *shape)
        return torch.randint(0, 3, shape, generator=generator).to(torch.uint8)
    return torch.randint(0, 256, (batch, *shape), generator=generator).to(torch.uint8)


@pytest.mark.parametrize(
    ("name", "options", "count"),
    [
        ("resnet18", {}, 11_689_512),
        ("resnet18", {"skip_norm": "shared"}, 11_689_512 - 2 * (128 + 256 + 512)),
        ("resnet18", {"classes": 10, "input_shape": (3, 64, 64)}, 11_689_512 - 990 * 513),
        ("resnet19", {}, 12_569_226),
        ("resnet19", {"skip_norm": "shared"}, 12_569_226 - 2 * (256 + 512)),
        ("resnet19", {"classes": 100}, 12_569_226 + 90 * 513),
        ("resnet20", {}, 17_038_026 + 2 * (64 + 6 * (128 + 256 + 512))),
        ("resnet20", SLIM, 268_346 + 2 * (16 + 6 * (16 + 32 + 64))),
        ("vgg16", {}, 14_724_042),
        ("vgg16", {"input_shape": (3, 64, 64), "classes": 200}, 14_724_042 - 5_130 + 200 * 2_049),
        ("vgg16", {"input_shape": (3, 64, 64), "head": "global"}, 14_724_042),
        ("vggsnn", {}, 9_268_746),
        ("vggsnn", {"pooling": "max"}, 9_268_746),
        ("vggsnn", {"input_shape": (2, 32, 32), "head": "global"}, 9_227_786),
        ("small8", {}, 144 + 32 + 4_608 + 64 + 1_290),
        ("small28", {}, 288 + 64 + 18_432 + 128 + 31_370),
        ("small_events", {}, 288 + 32 + 4_608 + 64 + 18_432 + 128 + 10_250),
        ("small_vgg", {}, 285_984 + 2 * 2 * (32 + 64 + 128) + 11_530),
        ("small_vgg", {"stages": ((8,), (16, 24))}, 72 + 1_152 + 3_456 + 2 * (8 + 16 + 24) + 24 * 49 * 10 + 10),
        ("small_touch", {}, 78 * 256 + 512 + 65_536 + 512 + 36 * 257),
    ],
)
def test_parameter_counts(name, options, count):
    assert parameters(create_model(name, **options)) == count


@pytest.mark.parametrize(("classes", "count"), [(10, 17_038_026), (100, 17_084_196)])
def test_resnet20_without_its_batch_norms_has_the_published_count(classes, count):
    with torch.device("meta"):
        net = create_model("resnet20", classes=classes)
    norms = sum(parameters(module) for module in net.modules() if isinstance(module, ChannelNorm))
    assert parameters(net) - norms == count


def test_resnet18_without_its_batch_norms():
    with torch.device("meta"):
        net = create_model("resnet18")
    norms = [module for module in net.modules() if isinstance(module, ChannelNorm)]
    assert len(norms) == 20  # one a convolution, skips included
    assert parameters(net) - sum(parameters(module) for module in norms) == 11_679_912


def test_resnet18_halves_its_map_five_times_before_it_sums_it():
    net = create_model("resnet18", classes=10, input_shape=(3, 40, 64), spec="2w4u").eval()
    shapes = {}
    for name in ("first", "stage1", "stage2", "stage3", "stage4"):
        part = getattr(net, name)
        part.register_forward_hook(lambda _module, _inputs, result, name=name: shapes.update({name: result.shape}))
    with torch.no_grad():
        net(sample_input(net, batch=1))
    assert [tuple(shape[2:]) for shape in shapes.values()] == [
        (64, 10, 16),
        (64, 10, 16),
        (128, 5, 8),
        (256, 3, 4),
        (512, 2, 2),
    ]
    assert net.readout.input_scale == 1 / 4


def test_vggsnn_pools_as_q_snn_or_as_qp_snn():
    def pools(**options):
        with torch.device("meta"):
            net = create_model("vggsnn", **options)
        return [type(layer.pool).__name__ for layer in net.layers if layer.pool is not None]

    assert pools() == ["SumPool"] * 4
    assert pools(pooling="max") == ["MaxPool"] * 3 + ["SumPool"]


def test_the_head_decides_the_readout():
    assert create_model("vgg16").readout.weight.shape[1] == 512
    assert create_model("vgg16", input_shape=(3, 64, 64)).readout.weight.shape[1] == 2_048
    assert create_model("vgg16", input_shape=(3, 64, 64), head="global").readout.weight.shape[1] == 512
    assert create_model("vggsnn").readout.weight.shape[1] == 4_608


@pytest.mark.parametrize("name", ["small8", "small28", "small_vgg", "small_events", "small_touch"])
@pytest.mark.parametrize("spec", ["32w32u", "1w2u", "4w4u"])
def test_small_networks_train_and_evaluate(name, spec):
    net = create_model(name, spec=spec)
    inputs = sample_input(net)
    logits = net.train()(inputs)
    steps, classes = net.model_options["time_steps"], net.model_options["classes"]
    assert logits.shape == (steps, 2, classes)
    logits.square().mean().backward()
    assert all(parameter.grad is not None for parameter in net.parameters())
    with torch.no_grad():
        exact = net.eval()(inputs)
    assert exact.shape == (steps, 2, classes)
    assert exact.isfinite().all()
    assert spec == "32w32u" or exact.dtype == torch.float64


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("resnet18", {"input_shape": (3, 32, 32), "classes": 10, "time_steps": 1}),
        ("resnet19", {"input_shape": (3, 8, 8)}),
        ("resnet19", {"input_shape": (3, 8, 8), "skip_norm": "shared"}),
        ("resnet20", {"input_shape": (3, 8, 8), **SLIM}),
        ("resnet20", {"input_shape": (3, 7, 6), "first": 4, "widths": (7, 7, 10)}),
        ("vgg16", {"input_shape": (3, 32, 32), "time_steps": 1}),
        ("vgg16", {"input_shape": (3, 16, 16), "time_steps": 1, "head": "global"}),
        ("vggsnn", {"input_shape": (2, 16, 16), "time_steps": 2}),
        ("vggsnn", {"input_shape": (2, 16, 16), "time_steps": 2, "pooling": "max"}),
        ("vggsnn", {"input_shape": (3, 16, 16), "time_steps": 2, "head": "global"}),
    ],
)
def test_published_networks_run_as_integers(name, options):
    net = create_model(name, spec="1w2u", **options)
    with torch.no_grad():
        logits = net.eval()(sample_input(net, batch=1))
    assert logits.shape == (net.model_options["time_steps"], 1, 10)
    assert logits.dtype == torch.float64
    assert logits.isfinite().all()


def test_residual_block_adds_its_input_as_membrane_input():
    """With all weights of a block gone, spikes at the threshold pass the plain skip unchanged."""
    block = create_model("resnet19", input_shape=(3, 8, 8)).stage1[0].eval()
    with torch.no_grad():
        block.first.weight.zero_()
        block.second.weight.zero_()
        spikes = (torch.rand(2, 1, 128, 8, 8, generator=torch.Generator().manual_seed(1)) < 0.5).float()
        passed = block(spikes)
    assert torch.equal(passed, spikes)


def test_skips_without_parameters_put_their_channels_in_the_middle():
    """With all weights of a block gone, every second pixel passes, channel 0 of 4 as channel 2 of 8."""
    net = create_model("resnet20", input_shape=(3, 8, 8), first=4, widths=(4, 8, 16))
    block = net.stage2[0].eval()
    assert block.second.skip.stride == 2
    assert block.second.skip.channel_map == (-1, -1, 0, 1, 2, 3, -1, -1)
    with torch.no_grad():
        block.first.weight.zero_()
        block.second.weight.zero_()
        spikes = (torch.rand(2, 1, 4, 8, 8, generator=torch.Generator().manual_seed(1)) < 0.5).float()
        passed = block(spikes)
    assert torch.equal(passed[:, :, 2:6], spikes[..., ::2, ::2])
    assert not passed[:, :, :2].any()
    assert not passed[:, :, 6:].any()


def test_resnet20_trains():
    net = create_model("resnet20", spec="2w4u", input_shape=(3, 8, 8), first=4, widths=(4, 8, 16)).train()
    logits = net(sample_input(net))
    logits.square().mean().backward()
    assert logits.shape == (2, 2, 10)
    assert all(parameter.grad is not None for parameter in net.parameters())


@pytest.mark.parametrize("name", list_models())
def test_mean_and_std_of_the_data_are_accepted(name):
    events = name in EVENT_MODELS
    channels = create_model(name).model_options["input_shape"][0]
    net = create_model(name, mean=() if events else (0.4,) * channels, std=1.0 if events else 0.3)
    assert net.model_options["std"] == (1.0 if events else 0.3)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("small8", {"input_shape": (8, 8)}, r"input_shape is \[8, 8\]; give \[channels, height, width\]"),
        ("small8", {"input_shape": (1, 3, 8)}, "width of at least 4"),
        ("small8", {"widths": (1, 2, 3)}, "give two numbers of channels"),
        ("small8", {"classes": 1}, "classes is 1; give 2 or more"),
        ("vgg16", {"input_shape": (3, 16, 16)}, "at least 32"),
        ("vgg16", {"head": "mean"}, "head is 'mean'; allowed are local, global"),
        ("resnet19", {"skip_norm": "none"}, "skip_norm is 'none'; allowed are own, shared"),
        ("resnet20", {"widths": (128, 256)}, "give three numbers of channels"),
        (
            "resnet20",
            {"first": 64, "widths": (32, 64, 128)},
            "first is 64 and widths is .*a skip can add channels but not",
        ),
        ("resnet20", {"input_shape": (3, 3, 8)}, "width of at least 4"),
        ("vggsnn", {"input_shape": (2, 8, 8)}, "halves the map 4 times"),
        ("vggsnn", {"pooling": "mean"}, "pooling is 'mean'; allowed are sum, max"),
        ("resnet18", {"input_shape": (3, 31, 64)}, "halves the map 5 times"),
        ("resnet18", {"skip_norm": "none"}, "skip_norm is 'none'; allowed are own, shared"),
    ],
)
def test_impossible_options_are_refused(name, options, message):
    with pytest.raises(ValueError, match=message):
        create_model(name, **options)


@pytest.mark.parametrize(
    ("pool_sums", "said"),
    [
        (2, "pool_sums is 2; give a table with kernel"),
        ({"kernel": [2, 2, 2]}, r"\[2, 2, 2\] is neither a whole number nor two of them"),
        ({"kernel": "2"}, "'2' is neither a whole number"),
        ({"kernel": 2.5}, "2.5 is neither a whole number"),
        ({"kernel": True}, "True is neither a whole number"),
        ({"kernel": 9}, "conv gives maps of shape"),
    ],
)
def test_wrong_windows_of_a_sequence_are_refused(pool_sums, said):
    conv = {"kind": "conv", "name": "conv", "channels": 3, "kernel": 3, "pool_sums": pool_sums}
    with pytest.raises(ValueError, match=said):
        create_model("sequence", layers=[conv, {"kind": "flatten"}, {"kind": "readout"}])


def test_windows_of_a_sequence():
    conv = {"kind": "conv", "name": "conv", "channels": 3, "kernel": 3, "pool_sums": {"kernel": [2, 3], "stride": None}}
    net = create_model("sequence", layers=[conv, {"kind": "flatten"}, {"kind": "readout"}])
    assert net.conv.largest == ((2, 3), (2, 3))
    assert net.readout2.weight.shape == (10, 3 * 4 * 2)
