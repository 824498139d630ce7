"""AutoAugment (Cubuk et al., CVPR 2019): a sub-policy drawn for every image, of two operations each.

Drawing and applying are apart: `draw_policy` takes the random numbers, `apply_policy` is a pure function of
them. What happens to an image depends on its own draws only, never on its neighbours in the batch.
Departures from the published program: interpolation is nearest throughout, rotations go both ways, and what
moves into the picture has the colour of the zero point instead of grey, so the network sees nothing there.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Generator, Tensor

from bitspike.train import image_colors, image_geometry
from bitspike.train.image_geometry import to_device

Step = tuple[str, float, int]  # operation, probability, magnitude 0..9

CIFAR10_POLICY: tuple[tuple[Step, Step], ...] = (
    (("invert", 0.1, 7), ("contrast", 0.2, 6)),
    (("rotate", 0.7, 2), ("translate_x", 0.3, 9)),
    (("sharpness", 0.8, 1), ("sharpness", 0.9, 3)),
    (("shear_y", 0.5, 8), ("translate_y", 0.7, 9)),
    (("autocontrast", 0.5, 8), ("equalize", 0.9, 2)),
    (("shear_y", 0.2, 7), ("posterize", 0.3, 7)),
    (("color", 0.4, 3), ("brightness", 0.6, 7)),
    (("sharpness", 0.3, 9), ("brightness", 0.7, 9)),
    (("equalize", 0.6, 5), ("equalize", 0.5, 1)),
    (("contrast", 0.6, 7), ("sharpness", 0.6, 5)),
    (("color", 0.7, 7), ("translate_x", 0.5, 8)),
    (("equalize", 0.3, 7), ("autocontrast", 0.4, 8)),
    (("translate_y", 0.4, 3), ("sharpness", 0.2, 6)),
    (("brightness", 0.9, 6), ("color", 0.2, 8)),
    (("solarize", 0.5, 2), ("invert", 0.0, 3)),
    (("equalize", 0.2, 0), ("autocontrast", 0.6, 0)),
    (("equalize", 0.2, 8), ("equalize", 0.6, 4)),
    (("color", 0.9, 9), ("equalize", 0.6, 6)),
    (("autocontrast", 0.8, 4), ("solarize", 0.2, 8)),
    (("brightness", 0.1, 3), ("color", 0.7, 0)),
    (("solarize", 0.4, 5), ("autocontrast", 0.9, 3)),
    (("translate_y", 0.9, 9), ("translate_y", 0.7, 9)),
    (("autocontrast", 0.9, 2), ("solarize", 0.8, 3)),
    (("equalize", 0.8, 8), ("invert", 0.1, 3)),
    (("translate_y", 0.7, 9), ("autocontrast", 0.9, 1)),
)
POLICIES = MappingProxyType({"cifar10": CIFAR10_POLICY})


# From magnitude m (int64 [n], 0..9) and sign (int64 [n], -1 or +1) to what the operation takes. Strengths
# grow evenly with m: shear 0..0.3, shift 0..150/331 of the side, 0..30 degrees, factor 1..1 +- 0.9,
# 8..4 bits, threshold 256..0.
def _linear(largest: float) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda magnitude, sign: (magnitude * sign).double() * (largest / 9)


_shear, _shift, _degrees = _linear(0.3), _linear(150 / 331), _linear(30.0)


def _tenths(magnitude: Tensor, sign: Tensor) -> Tensor:
    return 10 + sign * magnitude


def _bits(magnitude: Tensor) -> Tensor:
    return torch.tensor([round(8 - 4 * index / 9) for index in range(10)])[magnitude]


def _threshold(magnitude: Tensor) -> Tensor:
    # a value is inverted when it is not below the threshold: for integers the next integer above decides
    return torch.tensor([math.ceil(256 - 256 * index / 9) for index in range(10)])[magnitude]


def _matrix(operation: str, magnitude: Tensor, sign: Tensor, height: int, width: int) -> Tensor:
    shift, zero = _shift(magnitude, sign), torch.zeros(len(sign), dtype=torch.float64)
    matrices: dict[str, Callable[[], Tensor]] = {
        "shear_x": lambda: image_geometry.shear_x_matrix(_shear(magnitude, sign)),
        "shear_y": lambda: image_geometry.shear_y_matrix(_shear(magnitude, sign)),
        "translate_x": lambda: image_geometry.translate_matrix(shift * width, zero),
        "translate_y": lambda: image_geometry.translate_matrix(zero, shift * height),
        "rotate": lambda: image_geometry.rotate_matrix(_degrees(magnitude, sign), height, width),
    }
    return matrices[operation]()


_COLORS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "color": lambda x, m, s: image_colors.color(x, _tenths(m, s)),
    "brightness": lambda x, m, s: image_colors.brightness(x, _tenths(m, s)),
    "contrast": lambda x, m, s: image_colors.contrast(x, _tenths(m, s)),
    "sharpness": lambda x, m, s: image_colors.sharpness(x, _tenths(m, s)),
    "posterize": lambda x, m, s: image_colors.posterize(x, _bits(m)),
    "solarize": lambda x, m, s: image_colors.solarize(x, _threshold(m)),
    "invert": lambda x, m, s: image_colors.invert(x),
    "autocontrast": lambda x, m, s: image_colors.autocontrast(x),
    "equalize": lambda x, m, s: image_colors.equalize(x),
}
OPERATIONS = ("shear_x", "shear_y", "translate_x", "translate_y", "rotate", *_COLORS)


@dataclass(frozen=True)
class PolicyDraws:
    """The random numbers of one batch, on the CPU."""

    sub_policy: Tensor  # int64 [B]
    applied: Tensor  # bool [B, 2], one per operation of the sub-policy
    sign: Tensor  # int64 [B, 2], -1 or +1: the direction of the operations that have one

    def __getitem__(self, rows: slice | Tensor) -> "PolicyDraws":
        """The draws of some images only."""
        return PolicyDraws(self.sub_policy[rows], self.applied[rows], self.sign[rows])


def operate(images: Tensor, operation: str, magnitude: Tensor, sign: Tensor, fill: Sequence[int]) -> Tensor:
    """One named operation on uint8 images `[B, C, H, W]`; per image a magnitude 0..9 and a sign `[B]`."""
    if operation in _COLORS:
        return _COLORS[operation](images, magnitude, sign)
    if operation not in OPERATIONS:
        raise ValueError(f"operation must be one of {', '.join(OPERATIONS)}, got {operation!r}")
    height, width = images.shape[2:]
    return image_geometry.affine(images, _matrix(operation, magnitude, sign, height, width), fill)


def _find_policy(name: str) -> tuple[tuple[Step, Step], ...]:
    if name not in POLICIES:
        raise ValueError(f"AutoAugment policy must be one of {', '.join(POLICIES)}, got {name!r}")
    return POLICIES[name]


def draw_policy(count: int, generator: Generator, policy: str = "cifar10") -> PolicyDraws:
    """Draw a sub-policy for each of `count` images, which of its operations run, and their directions."""
    table = _find_policy(policy)
    probability = torch.tensor([[step[1] for step in pair] for pair in table], dtype=torch.float32)
    sub_policy = torch.randint(len(table), (count,), generator=generator)
    applied = torch.rand(count, 2, generator=generator) < probability[sub_policy]
    sign = 2 * torch.randint(2, (count, 2), generator=generator) - 1
    return PolicyDraws(sub_policy, applied, sign)


def apply_policy(images: Tensor, draws: PolicyDraws, fill: Sequence[int], policy: str = "cifar10") -> Tensor:
    """Run every image's own two operations; images `[B, C, H, W]` uint8 with 1 or 3 colours, fill per colour.

    The images that drew the same operation are gathered, changed together and put back.
    """
    table = _find_policy(policy)
    image_geometry.check_images(images)
    if images.shape[1] not in (1, 3):
        raise ValueError(f"AutoAugment takes images of 1 or 3 colours, got {images.shape[1]} channels")
    image_geometry.fill_color(fill, images)
    if len(draws.sub_policy) != len(images):
        raise ValueError(f"draws for {len(draws.sub_policy)} images cannot serve a batch of {len(images)}")
    operation = torch.tensor([[OPERATIONS.index(step[0]) for step in pair] for pair in table])
    magnitude = torch.tensor([[step[2] for step in pair] for pair in table])
    result = images.clone()
    for stage in range(2):
        chosen = operation[draws.sub_policy, stage].masked_fill(~draws.applied[:, stage], -1)
        strength, sign = magnitude[draws.sub_policy, stage], draws.sign[:, stage]
        for index, name in enumerate(OPERATIONS):
            rows = (chosen == index).nonzero().squeeze(1)
            if len(rows):
                place = to_device(rows, images)
                changed = operate(result.index_select(0, place), name, strength[rows], sign[rows], fill)
                result.index_copy_(0, place, changed)
    return result
