"""What runs a finished integer network. Imports without torch."""

from bitspike.runtime.net import IntegerNet

__all__ = ["IntegerNet"]
