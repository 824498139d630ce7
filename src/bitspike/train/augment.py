"""Augmentation of image batches on their device: crop, flip, AutoAugment, cutout, in that (published) order.

All random numbers come from an explicit CPU generator and only then move to the device of the images, so that
one generator state gives one result, whatever the device. What enters a picture from outside has the colour
of the zero point z, which is 0 after z is subtracted, like the zero padding of the convolutions.
"""

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from bitspike.train import image_geometry
from bitspike.train.autoaugment import POLICIES, apply_policy, draw_policy

Augment = Callable[[Tensor, Generator], Tensor]


@dataclass(frozen=True)
class AugmentConfig:
    """What is done to a training batch; every field defaults to nothing.

    Images use crop, flip, autoaugment and cutout; events use flip and roll, or with nda also cutout.
    """

    crop: int = 0
    """Pixels of padding around the image before its own size is cut out at random (CIFAR: 4)."""
    flip: float | bool = False
    """Probability of mirroring left and right; true is 0.5."""
    autoaugment: str | bool = False
    """Name of an AutoAugment policy; true is "cifar10", "none" is false."""
    cutout: int = 0
    """Side of the square that is covered, around a random pixel (CIFAR: 16). Events: a choice of nda."""
    roll: int = 0
    """Events: cyclic shift by up to this many pixels each way (DVS-CIFAR10: 5); with nda a choice of it."""
    nda: float = 0.0
    """Events: largest angle of neuromorphic augmentation, in degrees (DVS-CIFAR10: 30); 0 is off."""

    def __post_init__(self) -> None:
        """Check every field; bring the short forms of flip and autoaugment to their long ones."""
        for name in ("crop", "cutout", "roll"):
            object.__setattr__(self, name, _whole_number(name, getattr(self, name)))
        flip = 0.5 * self.flip if isinstance(self.flip, bool) else self.flip
        object.__setattr__(self, "flip", _within("flip", flip, 1.0))
        object.__setattr__(self, "nda", _within("nda", self.nda, 45.0))
        named = {True: "cifar10", False: "none"}
        policy = named[self.autoaugment] if isinstance(self.autoaugment, bool) else self.autoaugment
        if policy not in ("none", *POLICIES):
            allowed = ", ".join(repr(name) for name in ("none", *POLICIES))
            raise ValueError(f"autoaugment is {policy!r}; it must be true, false or one of {allowed}")
        object.__setattr__(self, "autoaugment", policy)


def _whole_number(name: str, value: object) -> int:
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        number = -1
    if isinstance(value, bool) or number < 0:
        raise ValueError(f"{name} is {value!r}; it must be a whole number, 0 (off) or more")
    return number


def _within(name: str, value: object, largest: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 <= value <= largest:
        raise ValueError(f"{name} is {value!r}; it must be a number from 0 to {largest:g}")
    return float(value)


def check_unused(config: AugmentConfig, names: Sequence[str], kind: str, instead: str) -> None:
    """Refuse fields that mean nothing for this kind of input, rather than ignore them."""
    for name in names:
        value = getattr(config, name)
        if value not in (0, "none"):
            raise ValueError(f"{name} is {value!r}, but it cannot be used on {kind}; {instead}")


def check_generator(generator: Generator) -> None:
    """Refuse a generator on a device: its numbers would differ from those of another device."""
    if generator.device.type != "cpu":
        raise ValueError(f"augmentation draws from a CPU generator, got one on {generator.device}")


def random_crop(images: Tensor, padding: int, fill: Sequence[int], generator: Generator) -> Tensor:
    """Pad by `padding` pixels of `fill`, cut out the original size at a place drawn for each image."""
    place = torch.randint(2 * padding + 1, (2, len(images)), generator=generator)
    return image_geometry.crop(images, place[0], place[1], padding, fill)


def random_flip(images: Tensor, probability: float, generator: Generator) -> Tensor:
    """Mirror each image left and right with the given probability."""
    return image_geometry.flip(images, torch.rand(len(images), generator=generator) < probability)


def random_cutout(images: Tensor, size: int, fill: Sequence[int], generator: Generator) -> Tensor:
    """Cover a square around a pixel drawn for each image; at the border only part of it lies inside."""
    height, width = images.shape[2:]
    row = torch.randint(height, (len(images),), generator=generator)
    column = torch.randint(width, (len(images),), generator=generator)
    return image_geometry.cutout(images, row, column, size, fill)


def build_augment(config: AugmentConfig, zero_point: Sequence[int]) -> Augment:
    """The function (images uint8 `[B, C, H, W]`, CPU generator) -> images that a training loop calls.

    zero_point: the integer z of each colour; it fills whatever the operations leave empty.
    """
    check_unused(config, ("roll", "nda"), "images", "it is for events; use crop")
    fill = tuple(operator.index(value) for value in zero_point)
    policy = str(config.autoaugment)

    def augment(images: Tensor, generator: Generator) -> Tensor:
        image_geometry.check_images(images)
        image_geometry.fill_color(fill, images)
        check_generator(generator)
        if config.crop:
            images = random_crop(images, config.crop, fill, generator)
        if config.flip:
            images = random_flip(images, config.flip, generator)
        if policy != "none":
            images = apply_policy(images, draw_policy(len(images), generator, policy), fill, policy)
        if config.cutout:
            images = random_cutout(images, config.cutout, fill, generator)
        return images

    return augment
