"""Structured pruning: whole channels leave a network of blocks, which then is an ordinary smaller network.

`channel_scores` rates every output channel of every spiking layer, `remove_` takes channels out, `prune_` does both.
"""

from bitspike.block.potentials import potentials
from bitspike.prune.criteria import Criterion, LayerRun, list_criteria, register_criterion, singular_value_scores
from bitspike.prune.fitting import for_target
from bitspike.prune.presets import PRESETS, Preset
from bitspike.prune.pruning import PrunedLayer, PruneReport, prune_
from bitspike.prune.ranking import ChannelScores
from bitspike.prune.ratios import channel_counts, prunable_channels
from bitspike.prune.removal import RemovalReport, RemovedChannels, remove_, removed_from
from bitspike.prune.scores import channel_scores
from bitspike.prune.stability import LayerStability, Stability, stability
from bitspike.prune.target import Target

__all__ = [
    "PRESETS",
    "ChannelScores",
    "Criterion",
    "LayerRun",
    "LayerStability",
    "Preset",
    "PruneReport",
    "PrunedLayer",
    "RemovalReport",
    "RemovedChannels",
    "Stability",
    "Target",
    "channel_counts",
    "channel_scores",
    "for_target",
    "list_criteria",
    "potentials",
    "prunable_channels",
    "prune_",
    "register_criterion",
    "remove_",
    "removed_from",
    "singular_value_scores",
    "stability",
]
