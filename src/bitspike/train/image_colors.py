"""Changing the pixel values of a batch, each image by its own strength, as Pillow does it.

Every function takes uint8 images `[B, C, H, W]` on any device and returns a new uint8 tensor. The arithmetic
is on integers (float32 holds only integers below 2^24 and is divided only under a floor with room on both
sides; autocontrast needs float64), so the result is the same on every device.
"""

import torch
from torch import Tensor

from bitspike.train.image_geometry import to_device


def _per_image(values: Tensor, images: Tensor, dtype: torch.dtype) -> Tensor:
    return to_device(values.to(dtype), images).view(-1, 1, 1, 1)


def _enhance(images: Tensor, dull: Tensor, tenths: Tensor) -> Tensor:
    """floor(dull + tenths / 10 * (image - dull)), clamped to 0..255: 0 gives `dull`, 10 gives the image."""
    base = dull.float()
    scaled = base * 10 + _per_image(tenths, images, torch.float32) * (images.float() - base)
    # `scaled` is an integer, so half a unit before the division keeps the floor clear of rounding errors
    return torch.floor((scaled + 0.5) / 10).clamp_(0, 255).to(torch.uint8)


def luminance(images: Tensor) -> Tensor:
    """Grey levels, uint8 `[B, 1, H, W]`: ITU-R 601 weights in 16-bit fixed point; grey images stay."""
    if images.shape[1] == 1:
        return images
    if images.shape[1] != 3:
        raise ValueError(f"colours of an image must be 1 (grey) or 3 (red, green, blue), got {images.shape[1]}")
    red, green, blue = images.to(torch.int32).unbind(1)
    grey = (red * 19595 + green * 38470 + blue * 7471 + 32768) >> 16
    return grey.to(torch.uint8).unsqueeze(1)


def brightness(images: Tensor, tenths: Tensor) -> Tensor:
    """Between black (0) and the image (10), and beyond; integer `tenths` `[B]`."""
    return _enhance(images, torch.zeros_like(images), tenths)


def color(images: Tensor, tenths: Tensor) -> Tensor:
    """Between the grey picture (0) and the image (10), and beyond; grey images stay."""
    return _enhance(images, luminance(images), tenths)


def contrast(images: Tensor, tenths: Tensor) -> Tensor:
    """Between its own mean grey level (0) and the image (10), and beyond."""
    pixels = images.shape[2] * images.shape[3]
    total = luminance(images).sum(dim=(1, 2, 3), keepdim=True, dtype=torch.int64)
    mean = torch.div(2 * total + pixels, 2 * pixels, rounding_mode="floor")
    return _enhance(images, mean, tenths)


def sharpness(images: Tensor, tenths: Tensor) -> Tensor:
    """Between the smoothed picture (0) and the image (10), and beyond; the border pixels stay."""
    return _enhance(images, _smooth(images), tenths)


def _smooth(images: Tensor) -> Tensor:
    """3x3 mean in which the middle counts five times, rounded to nearest; border pixels as they are."""
    smooth = images.clone()
    if min(images.shape[2:]) < 3:
        return smooth
    values = images.to(torch.int16)
    rows = values[:, :, :-2] + values[:, :, 1:-1] + values[:, :, 2:]
    total = rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:] + 4 * values[:, :, 1:-1, 1:-1]
    smooth[:, :, 1:-1, 1:-1] = torch.floor((total.float() + 6.5) / 13).to(torch.uint8)
    return smooth


def invert(images: Tensor) -> Tensor:
    """255 - value."""
    return 255 - images


def posterize(images: Tensor, bits: Tensor) -> Tensor:
    """Keep the upper `bits` (integers 1..8, `[B]`) of every value."""
    mask = 256 - torch.pow(2, 8 - bits)
    return images & _per_image(mask, images, torch.uint8)


def solarize(images: Tensor, threshold: Tensor) -> Tensor:
    """Invert every value at or above `threshold` (integers 0..256, `[B]`)."""
    return torch.where(images < _per_image(threshold, images, torch.int16), images, 255 - images)


def _look_up(images: Tensor, table: Tensor) -> Tensor:
    """Replace every value by its entry in `table` `[B, C, 256]`."""
    values = images.flatten(2).long()
    return table.to(torch.uint8).gather(2, values).reshape(images.shape)


def _histogram(images: Tensor) -> Tensor:
    """How often each value occurs, int64 `[B, C, 256]`."""
    batch, channels = images.shape[:2]
    plane = torch.arange(batch * channels, device=images.device).unsqueeze(1)
    cell = (images.reshape(batch * channels, -1).long() + 256 * plane).flatten()
    counts = torch.zeros(batch * channels * 256, dtype=torch.int64, device=images.device)
    return counts.scatter_add_(0, cell, torch.ones_like(cell)).view(batch, channels, 256)


def autocontrast(images: Tensor) -> Tensor:
    """Stretch each colour of each image so that its darkest value becomes 0, its lightest 255."""
    low = images.amin(dim=(2, 3)).unsqueeze(2).double()
    high = images.amax(dim=(2, 3)).unsqueeze(2).double()
    level = torch.arange(256, dtype=torch.float64, device=images.device)
    # float64 and this order of operations, because Pillow truncates what they give; a tensor over a tensor,
    # because torch divides a number by a tensor through its rounded reciprocal
    scale = torch.full_like(low, 255.0) / (high - low).clamp(min=1)
    stretched = (level * scale - low * scale).trunc().clamp(0, 255)
    return _look_up(images, torch.where(high > low, stretched, level))


def equalize(images: Tensor) -> Tensor:
    """Spread the values of each colour of each image so that all levels occur about equally often."""
    counts = _histogram(images)
    pixels = images.shape[2] * images.shape[3]
    lightest = images.amax(dim=(2, 3)).long().unsqueeze(2)
    step = torch.div(pixels - counts.gather(2, lightest), 255, rounding_mode="floor")
    divisor = step.clamp(min=1)
    below = counts.cumsum(2) - counts
    spread = torch.div(below + divisor // 2, divisor, rounding_mode="floor").clamp(max=255)
    level = torch.arange(256, device=images.device)
    return _look_up(images, torch.where(step > 0, spread, level))
