import re

import numpy as np
import pytest
import torch
from torch import nn

from _inference.samples import as_floats
from _shared.environment import BENCHMARKS
from _training import cases
from _training.cases import CASES, native_precision, write_batches
from _training.peer_networks import NETWORKS, ResidualBlock
from _training.run_bitspike import Training
from _training.served import LEARNING_RATE, MOMENTUM
from bitspike.block.native import plain
from bitspike.block.norm import ChannelNorm
from bitspike.model import create_model

SMALL = {"input_shape": [1, 8, 8], "time_steps": 2, "widths": [2, 3]}


def batches(count=2, batch=4, seed=0):
    random = np.random.default_rng(seed)
    images = random.integers(0, 256, (count, batch, 1, 8, 8)).astype(np.uint8)
    return images, random.integers(0, 10, (count, batch))


def test_cases_are_spelled_as_the_goals_spell_them():
    assert [case.name for case in CASES] == ["mnist-convnet T=4 B=128", "resnet20-slim T=2 B=64"]


def test_batches_are_images_and_labels(tmp_path, monkeypatch):
    monkeypatch.setattr(cases, "FOLDER", tmp_path)
    case = cases.Case("net", 2, 3, "small8", (1, 8, 8))
    path = write_batches(case, 2)
    stored = np.load(path)
    assert stored["images"].shape == (2, 3, 1, 8, 8)
    assert stored["images"].dtype == np.uint8
    assert stored["labels"].shape == (2, 3)
    assert stored["labels"].max() < 10
    again = np.load(write_batches(case, 2))
    assert np.array_equal(stored["images"], again["images"])


@pytest.mark.parametrize(
    ("able", "precision"),
    [({"avx512_bf16": True}, "bfloat16"), ({"bf16": True}, "bfloat16"), ({"avx512_bf16": False}, "float32")],
)
def test_bfloat16_only_where_the_processor_has_it(monkeypatch, able, precision):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able)
    assert native_precision() == precision


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.network)
def test_peers_have_the_same_layers(case):
    """As many convolutions of the same shapes, batch norms, and the same readout."""
    with torch.device("meta"):
        ours = create_model(case.model, input_shape=case.shape, **case.options)
        theirs = NETWORKS[case.network](nn, nn.Identity)
    assert [tuple(p.shape) for p in ours.parameters()] == [tuple(p.shape) for p in theirs.parameters()]
    norms = [
        sum(isinstance(module, kind) for module in net.modules())
        for net, kind in ((ours, ChannelNorm), (theirs, nn.BatchNorm2d))
    ]
    assert norms[0] == norms[1]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.network)
def test_peers_networks_give_logits(case):
    with torch.no_grad():
        logits = NETWORKS[case.network](nn, nn.ReLU)(torch.zeros(2, *case.shape))
    assert logits.shape == (2, 10)


def test_a_peers_skip_is_ours():
    """With its convolutions silent, a block passes what option A says: every second pixel, channels in the middle."""
    block = ResidualBlock(nn, nn.Identity, 2, 4, stride=2).eval()
    for module in block.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.zeros_(module.weight)
    x = torch.rand(3, 1, 2, 4, 4)
    passed = block(x.flatten(0, 1)).unflatten(0, (3, 1))
    assert torch.equal(passed[:, :, 1:3], x[..., ::2, ::2])
    assert not passed[:, :, 0].any()
    assert not passed[:, :, 3].any()


def test_peers_library_networks_ask_for_nothing_else():
    """Only the workers, and the network that the GPU's benchmark compares with, import a peer's library."""
    found = {"spikingjelly": set(), "snntorch": set()}
    for path in (BENCHMARKS / "_training").glob("*.py"):
        for library in re.findall(r"^\s*(?:import|from) (spikingjelly|snntorch)\b", path.read_text(), re.MULTILINE):
            found[library].add(path.name)
    assert found == {"spikingjelly": {"run_spikingjelly.py", "on_device.py"}, "snntorch": {"run_snntorch.py"}}


def by_hand(images, labels, i):
    """Loss and parameters after one step in plain PyTorch."""
    torch.manual_seed(3)
    net = create_model("small8", spec="32w32u", **SMALL).train()
    optimizer = torch.optim.SGD(net.parameters(), lr=LEARNING_RATE, momentum=MOMENTUM)
    loss = nn.functional.cross_entropy(net(torch.from_numpy(images[i])).mean(0), torch.from_numpy(labels[i]))
    loss.backward()
    optimizer.step()
    return float(loss.detach()), list(net.parameters())


def test_our_step_is_forward_loss_backward_and_momentum():
    images, labels = batches()
    with plain():
        loss, expected = by_hand(images, labels, 1)
        torch.manual_seed(3)
        training = Training("small8", SMALL, "32w32u", images, labels)
        before = float(training.loss(1).detach())
        with training.rates:
            assert training.step(1) == pytest.approx(loss, rel=1e-5)
    assert before == pytest.approx(loss, rel=1e-5)
    for ours, theirs in zip(training.net.parameters(), expected, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-6)


@pytest.mark.parametrize("spec", ["32w32u", "1w2u"])
def test_our_steps_lower_the_loss(spec):
    torch.manual_seed(0)
    training = Training("small8", SMALL, spec, *batches(1))
    with training.rates:
        losses = [training.step(0) for _ in range(40)]
        rate = training.firing_rate()
    assert np.mean(losses[-5:]) < np.mean(losses[:5])
    assert 0 < rate < 1


def test_our_network_trains_in_bfloat16_where_it_is_asked_to(monkeypatch):
    monkeypatch.setattr("bitspike.train.precision.has_bfloat16", lambda device: True)  # emulated where it is missing
    training = Training("small8", SMALL, "32w32u", *batches(1), precision="bfloat16")
    assert training.recipe.train.precision == "bfloat16"
    with training.rates:
        assert np.isfinite(training.step(0))


def test_peers_read_the_pixels_that_our_network_reads():
    """Our input layer subtracts its zero point and divides in its first sum: within half a grey level the same."""
    images, _ = batches(1)
    entry = create_model("small8", **SMALL).input
    ours = entry(torch.from_numpy(images[0]))[0] * entry.scale
    assert np.abs(ours.numpy() - as_floats(images[0])).max() <= 0.51 / 255 / 0.25
