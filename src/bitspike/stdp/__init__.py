"""The unsupervised network: Poisson coding, one winner a step, STDP; in float and in integers only.

    network = StdpNetwork(StdpConfig(neurons=400, bits=StdpBits(4)))
    network.learn(images)
    network.assign_labels(images, labels, 10)
    network.predict(others)

docs/explanation/stdp.md has the equations. Nothing here needs torch.
"""

from bitspike.stdp.config import StdpBits, StdpConfig
from bitspike.stdp.evaluate import StdpEvaluation, evaluate
from bitspike.stdp.file import load, save
from bitspike.stdp.labels import Labels
from bitspike.stdp.network import StdpNetwork
from bitspike.stdp.quantize import quantized
from bitspike.stdp.recipe import StdpRecipe
from bitspike.stdp.training import StdpResult, train_stdp

__all__ = [
    "Labels",
    "StdpBits",
    "StdpConfig",
    "StdpEvaluation",
    "StdpNetwork",
    "StdpRecipe",
    "StdpResult",
    "evaluate",
    "load",
    "quantized",
    "save",
    "train_stdp",
]
