import builtins

import numpy as np
import pytest

from bitspike.data import load


def test_scaling_and_split_follow_the_stated_rule():
    datasets = pytest.importorskip("sklearn.datasets")
    bunch = datasets.load_digits()
    train, test = load("digits", "train"), load("digits", "test")
    assert (len(train), len(test)) == (1442, 355)
    assert train.input_shape == (1, 8, 8)
    zeros = np.flatnonzero(bunch.target == 0)
    expected = [int(value * 255 / 16 + 0.5) for value in bunch.images[zeros[4]].ravel()]
    first_zero = test.inputs[np.flatnonzero(test.labels == 0)[0]]
    assert first_zero.ravel().tolist() == expected
    assert set(np.unique(train.inputs)) <= {(v * 255 + 8) // 16 for v in range(17)}
    counts = np.bincount(bunch.target)
    assert np.bincount(test.labels).tolist() == [count // 5 for count in counts]
    assert (train.mean, train.std) == (test.mean, test.std)
    assert train.mean[0] == pytest.approx(train.inputs.mean() / 255, abs=1e-12)
    assert train.std == pytest.approx(train.inputs.std() / 255, abs=1e-12)


def test_the_error_without_scikit_learn_names_the_extra(monkeypatch):
    real_import = builtins.__import__

    def without(name, *arguments, **options):
        if name.startswith("sklearn"):
            raise ImportError(name)
        return real_import(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r"pip install bitspike\[train\]"):
        load("digits", "train")
