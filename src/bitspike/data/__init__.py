"""Data sets as integers: still images and event recordings, from local files.

    from bitspike.data import load, split_validation
    train, validation = split_validation(load("mnist", "train"), 0.1, seed=1)
    events = load("nmnist-subset", "test", time_steps=10, bound=15)      # counts uint8 [N, T, 2, H, W]

`Dataset` is one split, whole in memory: uint8 inputs, int64 labels. `load` knows data sets by name
(`dataset_names()`), looks for their original files in a folder (`$BITSPIKE_DATA/mnist/`, ...), checks their
published checksums, and downloads nothing unless asked (`fetch`, or `load(..., download=True)`). Users' own
data enters through `dataset_from_arrays`, `load_image_folder` and `load_event_folder`. No torch here, and no
pickle is ever executed.
"""

from bitspike.data.arrays import dataset_from_arrays
from bitspike.data.binning import BinnedEvents, Binning, bin_events, rebin_frames
from bitspike.data.dataset import Dataset, measure_statistics
from bitspike.data.event_folder import load_event_folder
from bitspike.data.events import make_events
from bitspike.data.image_folder import load_image_folder
from bitspike.data.loading import dataset_info, dataset_kind, dataset_names, fetch, load
from bitspike.data.recording import read_recording
from bitspike.data.roots import data_roots
from bitspike.data.split import split_validation

__all__ = [
    "BinnedEvents",
    "Binning",
    "Dataset",
    "bin_events",
    "data_roots",
    "dataset_from_arrays",
    "dataset_info",
    "dataset_kind",
    "dataset_names",
    "fetch",
    "load",
    "load_event_folder",
    "load_image_folder",
    "make_events",
    "measure_statistics",
    "read_recording",
    "rebin_frames",
    "split_validation",
]
