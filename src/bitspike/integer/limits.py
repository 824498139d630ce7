"""How large a network from a file may be: far above what is in use, and far below what would exhaust a machine."""

MOST_NODES = 4096
LONGEST_NAME = 200
LARGEST_TABLE = 4 << 20
"""Bytes of a file's table, the header in it."""
DEEPEST = 64
"""Levels of lists and objects in what a file says about a network."""
LARGEST_SIDE = 1 << 16
"""Channels, height, width of a map; features of a vector have the limit of values."""
MOST_STEPS = 1 << 16
MOST_VALUES = 1 << 26
"""Values of one node over all time steps, its padding included; and of all membranes together."""
MOST_UNFOLDED = 1 << 27
"""Values of one step of a convolution's operand, written out window by window."""
MOST_WEIGHTS = 1 << 28
"""Weights of one weighted sum."""
MOST_COUNT = (1 << 31) - 1
"""A value that travels along an edge: int32."""
MOST_SHIFT = 30
"""2^30 is the largest power of two that int32 holds."""
