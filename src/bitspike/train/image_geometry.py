"""Moving the pixels of a batch: crop, flip, cutout, roll and affine maps, each image by its own numbers.

Every function takes uint8 images `[B, C, H, W]` on any device, with one number (or row of numbers) per image,
and returns a new uint8 tensor of the same shape. Nothing here draws random numbers, and nothing rounds in
floating point on the device, so a run is the same on every device.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

_FIXED_POINT = 1 << 16  # source coordinates carry 16 fraction bits, as in Pillow, so both pick the same pixel


def check_images(images: Tensor, dimensions: int = 4) -> None:
    """Refuse anything but a uint8 batch `[B, C, H, W]` (or `[B, T, C, H, W]` for `dimensions=5`)."""
    layout = {4: "[B, C, H, W]", 5: "[B, T, C, H, W]"}[dimensions]
    if not isinstance(images, Tensor):
        raise TypeError(f"augmentation takes a torch.Tensor of uint8 {layout}, got {type(images).__name__}")
    if images.dtype != torch.uint8 or images.dim() != dimensions:
        raise ValueError(
            f"augmentation takes uint8 {layout}, got {images.dtype} of shape {list(images.shape)};"
            " augment before the pixels are scaled"
        )


def to_device(values: Tensor, images: Tensor) -> Tensor:
    """Numbers drawn on the CPU, moved to where the images are without waiting for the device."""
    return values.to(images.device, non_blocking=True)


def fill_color(fill: Sequence[int], images: Tensor) -> Tensor:
    """The fill, one integer per colour, as uint8 `[C]` beside the images."""
    if len(fill) != images.shape[1] or any(not 0 <= value <= 255 for value in fill):
        raise ValueError(
            f"the fill (zero point) must be {images.shape[1]} integers in 0..255, one per colour of the"
            f" images {list(images.shape)}, got {list(fill)}"
        )
    return to_device(torch.tensor([int(value) for value in fill], dtype=torch.uint8), images)


def window(images: Tensor, top: Tensor, left: Tensor, height: int, width: int) -> Tensor:
    """The `height` x `width` window of each image whose first pixel is (top, left); it must lie inside."""
    views = images.unfold(2, height, 1).unfold(3, width, 1)
    sample = torch.arange(images.shape[0], device=images.device)
    return views[sample, :, to_device(top, images), to_device(left, images)]


def crop(images: Tensor, top: Tensor, left: Tensor, padding: int, fill: Sequence[int]) -> Tensor:
    """Surround each image by `padding` pixels of `fill`, cut its own size out again at (top, left).

    top, left: integers `[B]` in 0..2 * padding; (padding, padding) gives the image back.
    """
    batch, channels, height, width = images.shape
    color = fill_color(fill, images).view(1, channels, 1, 1)
    padded = color.repeat(batch, 1, height + 2 * padding, width + 2 * padding)
    padded[:, :, padding : padding + height, padding : padding + width] = images
    return window(padded, top, left, height, width)


def roll(images: Tensor, down: Tensor, right: Tensor, limit: int) -> Tensor:
    """Shift each image cyclically by its own (down, right), integers `[B]` in -limit..limit."""
    height, width = images.shape[2:]
    rows = torch.arange(-limit, height + limit, device=images.device) % height
    columns = torch.arange(-limit, width + limit, device=images.device) % width
    wrapped = images.index_select(2, rows).index_select(3, columns)
    return window(wrapped, limit - down, limit - right, height, width)


def flip(images: Tensor, mirrored: Tensor) -> Tensor:
    """Mirror left and right those images whose bool in `mirrored` `[B]` is set; more axes may lie between."""
    mask = to_device(mirrored, images).view(-1, *[1] * (images.dim() - 1))
    return torch.where(mask, images.flip(-1), images)


def cutout(images: Tensor, row: Tensor, column: Tensor, size: int, fill: Sequence[int]) -> Tensor:
    """Cover a square of `size` pixels around (row, column) of each image with `fill`.

    The square spans row - size // 2 up to, not including, row - size // 2 + size; what lies outside is lost.
    """
    channels, height, width = images.shape[1:]

    def inside(center: Tensor, extent: int) -> Tensor:
        first = (to_device(center, images) - size // 2).unsqueeze(1)
        position = torch.arange(extent, device=images.device)
        return (position >= first) & (position < first + size)

    covered = inside(row, height).unsqueeze(2) & inside(column, width).unsqueeze(1)
    return torch.where(covered.unsqueeze(1), fill_color(fill, images).view(1, channels, 1, 1), images)


def affine(images: Tensor, matrix: Tensor, fill: Sequence[int]) -> Tensor:
    """Nearest-pixel affine map: the value at (x, y) comes from (a x + b y + c, d x + e y + f).

    Positions are pixel centres; outside the image lies `fill`. Equal to Pillow's nearest transform.
    matrix: float64 `[B, 6]` on the CPU, rows (a, b, c, d, e, f).
    """
    batch, channels, height, width = images.shape
    color = fill_color(fill, images).view(1, channels, 1).expand(batch, channels, 1)
    first_x = matrix[:, 2] + (matrix[:, 0] + matrix[:, 1]) * 0.5
    first_y = matrix[:, 5] + (matrix[:, 3] + matrix[:, 4]) * 0.5
    real = torch.stack([matrix[:, 0], matrix[:, 1], first_x, matrix[:, 3], matrix[:, 4], first_y], dim=1)
    # rounded on the CPU, in float64: the device only adds, multiplies and shifts integers
    fixed = torch.floor(real * _FIXED_POINT + 0.5).to(torch.int64)
    a, b, c, d, e, f = to_device(fixed, images).view(batch, 6, 1, 1).unbind(1)
    column = torch.arange(width, device=images.device)
    row = torch.arange(height, device=images.device).unsqueeze(1)
    x = (a * column + b * row + c) >> 16
    y = (d * column + e * row + f) >> 16
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    # one more pixel behind the last holds the fill, so that a single gather does all
    source = torch.where(inside, y * width + x, height * width).view(batch, 1, height * width)
    pixels = torch.cat([images.reshape(batch, channels, height * width), color], dim=2)
    return pixels.gather(2, source.expand(-1, channels, -1)).view(batch, channels, height, width)


def shear_x_matrix(slope: Tensor) -> Tensor:
    """Rows of `affine` that take each pixel `slope` columns further right per row: x + slope * y."""
    one, zero = torch.ones_like(slope), torch.zeros_like(slope)
    return torch.stack([one, slope, zero, zero, one, zero], dim=1)


def shear_y_matrix(slope: Tensor) -> Tensor:
    """Rows of `affine` for y + slope * x."""
    one, zero = torch.ones_like(slope), torch.zeros_like(slope)
    return torch.stack([one, zero, zero, slope, one, zero], dim=1)


def translate_matrix(x: Tensor, y: Tensor) -> Tensor:
    """Rows of `affine` that read from (x, y) further on: a positive x moves the picture to the left."""
    one, zero = torch.ones_like(x), torch.zeros_like(x)
    return torch.stack([one, zero, x, zero, one, y], dim=1)


def rotate_matrix(degrees: Tensor, height: int, width: int) -> Tensor:
    """Rows of `affine` that turn the picture counter-clockwise around its centre."""
    angle = -degrees.double() * (math.pi / 180)
    cosine, sine = torch.cos(angle), torch.sin(angle)
    center_x, center_y = width / 2, height / 2
    c = center_x - center_x * cosine - center_y * sine
    f = center_y + center_x * sine - center_y * cosine
    return torch.stack([cosine, sine, c, -sine, cosine, f], dim=1)


def centered(matrix: Tensor, height: int, width: int) -> Tensor:
    """The same linear part, with the centre of a `height` x `width` image kept in place."""
    center_x, center_y = width / 2, height / 2
    result = matrix.clone()
    result[:, 2] = center_x - matrix[:, 0] * center_x - matrix[:, 1] * center_y
    result[:, 5] = center_y - matrix[:, 3] * center_x - matrix[:, 4] * center_y
    return result
