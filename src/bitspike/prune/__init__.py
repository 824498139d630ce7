"""Structured pruning: whole channels leave a network of blocks, which then is an ordinary smaller network."""

from bitspike.prune.fitting import for_target
from bitspike.prune.presets import PRESETS, Preset
from bitspike.prune.pruning import PrunedLayer, PruneReport, prune_
from bitspike.prune.ratios import channel_counts, prunable_channels
from bitspike.prune.removal import RemovalReport, RemovedChannels, remove_, removed_from
from bitspike.prune.target import Target

__all__ = [
    "PRESETS",
    "Preset",
    "PruneReport",
    "PrunedLayer",
    "RemovalReport",
    "RemovedChannels",
    "Target",
    "channel_counts",
    "for_target",
    "prunable_channels",
    "prune_",
    "remove_",
    "removed_from",
]
