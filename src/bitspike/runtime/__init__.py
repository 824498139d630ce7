"""What runs a finished integer network. Imports without torch."""

from bitspike.integer.file import About
from bitspike.runtime.certificate import Certificate, Comparison
from bitspike.runtime.certify import certify
from bitspike.runtime.difference import Difference, DifferenceFound
from bitspike.runtime.evaluation import Evaluation, evaluate_integers
from bitspike.runtime.net import IntegerNet

__all__ = [
    "About",
    "Certificate",
    "Comparison",
    "Difference",
    "DifferenceFound",
    "Evaluation",
    "IntegerNet",
    "certify",
    "evaluate_integers",
]
