"""The native engine: an integer graph compiled into tables and run by C. Without torch."""

from bitspike.engine.engine import Engine
from bitspike.engine.library import KERNELS, UnusableLibrary, UnusableNetwork, builds, library_path
from bitspike.integer.recorded import Recorded

__all__ = ["KERNELS", "Engine", "Recorded", "UnusableLibrary", "UnusableNetwork", "builds", "library_path"]
