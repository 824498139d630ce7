"""The networks themselves: parameter counts, shapes, options, refusals."""

import pytest
import torch

from bitspike.model import create_model, list_models

EVENT_MODELS = ("vggsnn", "small_events", "small_touch")


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
        ("resnet19", {}, 12_569_226),
        ("resnet19", {"skip_norm": "shared"}, 12_569_226 - 2 * (256 + 512)),
        ("resnet19", {"classes": 100}, 12_569_226 + 90 * 513),
        ("vgg16", {}, 14_724_042),
        ("vgg16", {"input_shape": (3, 64, 64), "classes": 200}, 14_724_042 - 5_130 + 200 * 2_049),
        ("vgg16", {"input_shape": (3, 64, 64), "head": "global"}, 14_724_042),
        ("vggsnn", {}, 9_268_746),
        ("vggsnn", {"input_shape": (2, 32, 32), "head": "global"}, 9_227_786),
        ("small8", {}, 144 + 32 + 4_608 + 64 + 1_290),
        ("small28", {}, 288 + 64 + 18_432 + 128 + 31_370),
        ("small_events", {}, 288 + 32 + 4_608 + 64 + 18_432 + 128 + 10_250),
        ("small_touch", {}, 78 * 256 + 512 + 65_536 + 512 + 36 * 257),
    ],
)
def test_parameter_counts(name, options, count):
    assert parameters(create_model(name, **options)) == count


def test_the_head_decides_the_readout():
    assert create_model("vgg16").readout.weight.shape[1] == 512
    assert create_model("vgg16", input_shape=(3, 64, 64)).readout.weight.shape[1] == 2_048
    assert create_model("vgg16", input_shape=(3, 64, 64), head="global").readout.weight.shape[1] == 512
    assert create_model("vggsnn").readout.weight.shape[1] == 4_608


@pytest.mark.parametrize("name", ["small8", "small28", "small_events", "small_touch"])
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
        ("resnet19", {"input_shape": (3, 8, 8)}),
        ("resnet19", {"input_shape": (3, 8, 8), "skip_norm": "shared"}),
        ("vgg16", {"input_shape": (3, 32, 32), "time_steps": 1}),
        ("vgg16", {"input_shape": (3, 16, 16), "time_steps": 1, "head": "global"}),
        ("vggsnn", {"input_shape": (2, 16, 16), "time_steps": 2}),
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
        ("vggsnn", {"input_shape": (2, 8, 8)}, "halves the map 4 times"),
    ],
)
def test_impossible_options_are_refused(name, options, message):
    with pytest.raises(ValueError, match=message):
        create_model(name, **options)
