"""Whole channels out of a network: which ones matter least.

`channel_scores` rates every output channel of every spiking layer by a criterion; `stability` says how much such a
rating depends on the samples it was taken from.
"""

from bitspike.prune.criteria import Criterion, LayerRun, list_criteria, register_criterion, singular_value_scores
from bitspike.prune.potentials import potentials
from bitspike.prune.ranking import ChannelScores
from bitspike.prune.scores import channel_scores
from bitspike.prune.stability import LayerStability, Stability, stability

__all__ = [
    "ChannelScores",
    "Criterion",
    "LayerRun",
    "LayerStability",
    "Stability",
    "channel_scores",
    "list_criteria",
    "potentials",
    "register_criterion",
    "singular_value_scores",
    "stability",
]
