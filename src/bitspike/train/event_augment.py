"""Augmentation of event frames: the same change for all time steps of a recording, no event invented.

Two forms, both after the published training of DVS-CIFAR10. Plain: mirror, then roll. Neuromorphic data
augmentation (Li et al., ECCV 2022), with `nda` degrees: mirror, then one choice per recording among roll,
rotation, shear and cutout. Empty places hold the count 0.
"""

import math

import torch
from torch import Generator, Tensor

from bitspike.train import image_geometry
from bitspike.train.augment import (
    Augment,
    AugmentConfig,
    check_generator,
    check_unused,
    random_cutout,
    random_flip,
)


def random_roll(images: Tensor, limit: int, generator: Generator) -> Tensor:
    """Shift each image cyclically by up to `limit` pixels, down and right drawn apart."""
    shift = torch.randint(-limit, limit + 1, (2, len(images)), generator=generator)
    return image_geometry.roll(images, shift[0], shift[1], limit)


def _angles(count: int, largest: float, generator: Generator) -> Tensor:
    return (2 * torch.rand(count, dtype=torch.float64, generator=generator) - 1) * largest


def random_rotation(images: Tensor, degrees: float, generator: Generator) -> Tensor:
    """Turn each image around its centre by an angle drawn from -degrees..degrees; empty places are 0."""
    height, width = images.shape[2:]
    angles = _angles(len(images), degrees, generator)
    matrix = image_geometry.rotate_matrix(angles, height, width)
    return image_geometry.affine(images, matrix, [0] * images.shape[1])


def random_shear(images: Tensor, degrees: float, generator: Generator) -> Tensor:
    """Slant each image sideways by an angle drawn from -degrees..degrees, centre kept; empty places are 0."""
    height, width = images.shape[2:]
    slope = torch.tan(_angles(len(images), degrees, generator) * (math.pi / 180))
    matrix = image_geometry.centered(image_geometry.shear_x_matrix(slope), height, width)
    return image_geometry.affine(images, matrix, [0] * images.shape[1])


def neuromorphic(images: Tensor, config: AugmentConfig, generator: Generator) -> Tensor:
    """Rotation, shear, and where configured roll and cutout: one of them for each image, equally likely."""
    choices = ["rotation", "shear"] + ["roll"] * bool(config.roll) + ["cutout"] * bool(config.cutout)
    chosen = torch.randint(len(choices), (len(images),), generator=generator)
    result = images.clone()
    for index, name in enumerate(choices):
        rows = (chosen == index).nonzero().squeeze(1)
        if not len(rows):
            continue
        place = image_geometry.to_device(rows, images)
        group = images.index_select(0, place)
        if name == "rotation":
            group = random_rotation(group, config.nda, generator)
        elif name == "shear":
            group = random_shear(group, config.nda, generator)
        elif name == "roll":
            group = random_roll(group, config.roll, generator)
        else:
            group = random_cutout(group, config.cutout, [0] * images.shape[1], generator)
        result.index_copy_(0, place, group)
    return result


def build_event_augment(config: AugmentConfig) -> Augment:
    """The function (counts uint8 `[B, T, C, H, W]`, CPU generator) -> counts that a training loop calls."""
    check_unused(config, ("crop", "autoaugment"), "events", "it is for images; use flip, roll or nda")
    if not config.nda:
        check_unused(config, ("cutout",), "events without nda", "set nda (largest angle in degrees) as well")

    def augment(events: Tensor, generator: Generator) -> Tensor:
        image_geometry.check_images(events, dimensions=5)
        check_generator(generator)
        # time steps and polarities become the channels of one picture, so that all of them move together
        images = events.flatten(1, 2)
        if config.flip:
            images = random_flip(images, config.flip, generator)
        if config.nda:
            images = neuromorphic(images, config, generator)
        elif config.roll:
            images = random_roll(images, config.roll, generator)
        return images.reshape(events.shape)

    return augment
