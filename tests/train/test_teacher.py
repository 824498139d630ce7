"""A teacher: what it adds to the loss by hand, that it is fixed and found again, and what cannot teach."""

import math

import pytest
import torch
from torch import nn
from train_samples import make_events, make_images

from bitspike.model import create_model
from bitspike.train.config import Recipe, TeacherConfig
from bitspike.train.from_recipe import build_net
from bitspike.train.losses import per_step_distillation, time_mean_distillation
from bitspike.train.run import train
from bitspike.train.teacher import Teacher

CPU = torch.device("cpu")


def fit(table, data, **options):
    recipe = Recipe.from_dict(table)
    return train(build_net(recipe, data), data, recipe, show_progress=False, device="cpu", **options)


def softmax(logits):
    total = sum(math.exp(value) for value in logits)
    return [math.exp(value) / total for value in logits]


def divergence(teacher, student):
    return sum(p * math.log(p / q) for p, q in zip(softmax(teacher), softmax(student), strict=True))


def test_distillation_by_hand():
    logits = torch.tensor([[[2.0, 0.0]], [[0.0, 1.0]]])
    taught = torch.tensor([[3.0, -1.0]])
    halves = [divergence([1.5, -0.5], [1.0, 0.0]), divergence([1.5, -0.5], [0.0, 0.5])]
    assert per_step_distillation(logits, taught, temperature=2.0).item() == pytest.approx(4 * sum(halves) / 2, rel=1e-5)
    of_the_mean = 4 * divergence([1.5, -0.5], [0.5, 0.25])
    assert time_mean_distillation(logits, taught, temperature=2.0).item() == pytest.approx(of_the_mean, rel=1e-5)


def test_nothing_is_to_learn_from_ones_own_answer():
    logits = torch.randn(1, 4, 3, requires_grad=True)
    loss = per_step_distillation(logits, logits[0].detach(), temperature=3.0)
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-6)
    assert float(logits.grad.abs().max()) < 1e-6


class Says(nn.Module):
    """One answer for every sample, whatever it is."""

    def __init__(self, *logits):
        super().__init__()
        self.answer = nn.Parameter(torch.tensor(logits))

    def forward(self, images):
        return self.answer.expand(len(images), -1)


def test_a_teacher_alone_is_followed_against_the_labels(table, images):
    table["train"]["epochs"] = 6
    table["teacher"] = {"weight": 1.0, "temperature": 1.0}
    result = fit(table, images, teacher=Says(0.0, 9.0, 0.0))
    predicted = result.net(torch.from_numpy(images.inputs)).mean(0).argmax(-1)
    assert (predicted == 1).all()


def test_a_model_file_teaches_as_the_network_does(table, images, tmp_path):
    teacher = fit({**table, "quant": "32w32u"}, images, out=tmp_path / "teacher")
    found = []
    for model in (tmp_path / "teacher", tmp_path / "teacher" / "model.safetensors"):
        found.append(fit({**table, "teacher": {"model": str(model)}}, images))
    found.append(fit({**table, "teacher": {}}, images, teacher=teacher.net))
    weights = [[value.detach() for value in result.net.parameters()] for result in found]
    assert all(torch.equal(a, b) for others in weights[1:] for a, b in zip(weights[0], others, strict=True))
    alone = fit(table, images)
    assert not torch.equal(alone.net.conv1.weight, found[0].net.conv1.weight)
    identity = found[0].header.provenance["identity"]
    assert identity["teacher"]["fingerprint"] == Teacher(teacher.net, CPU).fingerprint
    assert Recipe.from_dict(found[0].header.recipe).teacher == TeacherConfig(str(tmp_path / "teacher"))
    assert "teacher" not in alone.header.provenance["identity"]


def test_another_teacher_is_another_run(table, images, tmp_path):
    fit(table, images, out=tmp_path, teacher=Says(1.0, 0.0, 0.0))
    again = fit(table, images, out=tmp_path, teacher=Says(1.0, 0.0, 0.0))
    assert again.resumed
    with pytest.raises(ValueError, match=r"holds another run: teacher\.fingerprint was"):
        fit(table, images, out=tmp_path, teacher=Says(1.0, 0.0, 0.5))
    with pytest.raises(ValueError, match=r"holds another run: teacher"):
        fit(table, images, out=tmp_path)


def test_a_teacher_does_not_change():
    net = create_model("small8", classes=3, time_steps=2)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    teacher = Teacher(net, CPU, channels_last=True)
    with torch.no_grad():
        net.conv1.weight.zero_()  # of the one that was given, not of the one that teaches
    inputs = torch.from_numpy(make_images(6).inputs)
    logits = teacher.logits(inputs, 3)
    assert logits.shape == (6, 3)
    assert not logits.requires_grad
    assert torch.equal(teacher.logits(inputs, 3), logits)
    assert net.training
    assert all(parameter.requires_grad for parameter in net.parameters())
    after = teacher.net.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())


def test_the_same_weights_at_other_bits_are_another_teacher():
    nets = [create_model("small8", classes=3, **options) for options in ({}, {"spec": "1w2u"}, {"time_steps": 2})]
    for net in nets[1:]:
        net.load_state_dict(nets[0].state_dict())
    assert len({Teacher(net, CPU).fingerprint for net in nets}) == 3


def test_what_cannot_teach_is_told_before_training(table, images, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"teacher\.model: there is no model file .*nowhere"):
        fit({**table, "teacher": {"model": str(tmp_path / "nowhere")}}, images)
    seen = fit(table, images, out=tmp_path / "images")
    assert seen.model_file is not None
    events = {**table, "model": {"name": "small_events", "options": {"widths": [4]}}, "data": {"name": "sides"}}
    events["data"]["time_steps"] = 3
    with pytest.raises(ValueError, match=r"cannot teach on this data"):
        fit({**events, "augment": {}, "teacher": {"model": str(tmp_path / "images")}}, make_events(40))
    with pytest.raises(ValueError, match=r"the teacher returned logits of shape \[16, 2\]"):
        fit(table, images, teacher=Says(1.0, 0.0))
    with pytest.raises(ValueError, match=r"weight is 0.0; it must be a number > 0 and <= 1"):
        Recipe.from_dict({**table, "teacher": {"weight": 0}})
