import gzip
import lzma
import struct

import numpy as np
import pytest

from bitspike.data import load
from bitspike.data.mnist import load_mnist


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


@pytest.fixture
def tiny(tmp_path):
    """Write a set of five pictures in the test split, images plain and labels as .gz or .xz."""

    def write(labels=(3, 1, 4, 1, 5), pack=gzip.compress, suffix=".gz", images=5):
        folder = tmp_path / "mnist"
        folder.mkdir(exist_ok=True)
        pixels = np.arange(images * 784).reshape(images, 28, 28) % 256
        (folder / "t10k-images-idx3-ubyte").write_bytes(idx(pixels))
        (folder / f"t10k-labels-idx1-ubyte{suffix}").write_bytes(pack(idx(np.array(labels))))
        return folder

    return write


@pytest.mark.parametrize(("pack", "suffix"), [(gzip.compress, ".gz"), (lzma.compress, ".xz"), (bytes, "")])
def test_own_files_load_without_verification(tiny, pack, suffix):
    data = load_mnist("mnist", tiny(pack=pack, suffix=suffix), "test", verify=False)
    assert data.inputs.shape == (5, 1, 28, 28)
    assert data.inputs[1, 0, 0, :3].tolist() == [784 % 256, 785 % 256, 786 % 256]
    assert data.labels.tolist() == [3, 1, 4, 1, 5]
    assert (data.kind, data.bound, data.time_steps, data.classes) == ("images", 255, None, 10)


def test_checksum_is_verified_by_default(tiny):
    folder = tiny()
    with pytest.raises(ValueError, match="t10k-images-idx3-ubyte: wrong checksum, expected sha256"):
        load("mnist", "test", root=folder.parent)
    assert len(load("mnist", "test", root=folder.parent, verify=False)) == 5


def test_counts_must_agree(tiny):
    with pytest.raises(ValueError, match="5 test images but 3 labels; the files do not belong together"):
        load_mnist("mnist", tiny(labels=(1, 2, 3)), "test", verify=False)


def test_label_out_of_range(tiny):
    with pytest.raises(ValueError, match=r"label 10 of sample 2 is out of range 0\.\.9"):
        load_mnist("mnist", tiny(labels=(1, 2, 10, 3, 4)), "test", verify=False)


def test_missing_file_is_named(tiny):
    with pytest.raises(FileNotFoundError, match="train-images-idx3-ubyte is missing"):
        load_mnist("mnist", tiny(), "train", verify=False)


def test_cut_gz(tiny):
    folder = tiny()
    path = folder / "t10k-labels-idx1-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(ValueError, match="cut short or damaged"):
        load_mnist("mnist", folder, "test", verify=False)
