"""Ctrl-C and SIGTERM as a request that the loop answers between two steps."""

from bitspike.interrupt import StopRequest, TrainingStopped

__all__ = ["StopRequest", "TrainingStopped"]
