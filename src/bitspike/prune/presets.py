"""The pruning ratios of QP-SNN's tables, by name.

`tests/prune/test_presets.py` prunes our networks with them and finds every size that the paper prints, at 8, 4 and 2
bits, to the last digit. One correction was needed for that: the second convolutions of ResNet20's middle stage lose
0.3 (0.35 in the smaller network) like those of the first stage, where the paper prints 0.6 (0.75).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class Preset:
    """Ratios for one registered model. model: its name; ratios: pattern -> share of the channels that goes."""

    model: str
    ratios: Mapping[str, float]


def _chain(model: str, *shares: float) -> Preset:
    """One ratio a convolution of a network that is a chain of them."""
    return Preset(model, MappingProxyType({f"layers.{number}": share for number, share in enumerate(shares)}))


def _vgg16(first: float, second: float) -> Preset:
    """The first seven convolutions, the next five; the last one stays whole."""
    return _chain("vgg16", *[first] * 7, *[second] * 5, 0.0)


def _vggsnn(first: float, second: float) -> Preset:
    """The first three convolutions, the next four; the last one stays whole."""
    return _chain("vggsnn", *[first] * 3, *[second] * 4, 0.0)


def _resnet20(light: float, strong: float) -> Preset:
    """Strong within residual blocks, light where skips join; what the third stage's blocks give stays whole."""
    ratios = {
        "first": 0.1,
        "stage1.0.*": light,
        "stage[12].*.second": light,
        "stage3.*.second": 0.0,
        "stage*.*.first": strong,
    }
    return Preset("resnet20", MappingProxyType(ratios))


PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        "qpsnn-resnet20-larger": _resnet20(0.3, 0.6),
        "qpsnn-resnet20-smaller": _resnet20(0.35, 0.75),
        "qpsnn-vgg16-cifar10-4.25M": _vgg16(0.45, 0.51),
        "qpsnn-vgg16-cifar10-1.42M": _vgg16(0.49, 0.80),
        "qpsnn-vgg16-cifar100-2.31M": _vgg16(0.45, 0.70),
        "qpsnn-vgg16-cifar100-1.68M": _vgg16(0.45, 0.78),
        "qpsnn-vgg16-tinyimagenet-4.65M": _vgg16(0.45, 0.51),
        "qpsnn-vgg16-tinyimagenet-3.43M": _vgg16(0.45, 0.62),
        "qpsnn-vggsnn-1.46M": _vggsnn(0.5, 0.7),
        "qpsnn-vggsnn-0.9M": _vggsnn(0.5, 0.8),
        "qpsnn-vggsnn-0.25M": _vggsnn(0.82, 0.93),
    }
)
"""Named as the paper names its networks; ResNet20's are the same for CIFAR-10 and CIFAR-100."""
