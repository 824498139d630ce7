"""Searching for the quantization, pruning and training that suit a network best, and picking one."""

from bitspike.explore.exploration import Exploration, Row
from bitspike.explore.explore import explore
from bitspike.explore.selection import Baseline
from bitspike.explore.significance import Curve, Significance, significance
from bitspike.explore.space import SCHEMES, Space
from bitspike.explore.stdp_space import StdpSpace

__all__ = [
    "SCHEMES",
    "Baseline",
    "Curve",
    "Exploration",
    "Row",
    "Significance",
    "Space",
    "StdpSpace",
    "explore",
    "significance",
]
