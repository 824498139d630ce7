import struct

import pytest

from bitspike.data import load

HEADER = b"#!AER-DAT3.1\r\n#Format: RAW\r\n#!END-HEADER\r\n"


@pytest.fixture
def recording(tmp_path):
    """Write one recording of ten events at 0, 100, ..., 900 in pixel (t / 100, 5), with the given label lines."""

    def write(labels="1,100,300\n11,500,900\n", listed="user01_led.aedat\n", inner="DvsGesture"):
        base = tmp_path / "dvs-gesture" / inner
        base.mkdir(parents=True)
        events = b"".join(struct.pack("<Ii", i << 17 | 5 << 2 | 1 << 1 | 1, 100 * i) for i in range(10))
        (base / "user01_led.aedat").write_bytes(HEADER + struct.pack("<hhiiiiii", 1, 0, 8, 4, 0, 10, 10, 10) + events)
        (base / "user01_led_labels.csv").write_text("class,startTime_usec,endTime_usec\n" + labels)
        (base / "trials_to_train.txt").write_text(listed + "\n")
        return tmp_path

    return write


@pytest.mark.parametrize("inner", ["DvsGesture", ""])
def test_gestures_are_cut_at_their_labels(recording, inner):
    data = load("dvs-gesture", "train", root=recording(inner=inner), time_steps=2)
    assert data.inputs.shape == (2, 2, 2, 128, 128)
    assert data.labels.tolist() == [0, 10]
    assert data.class_names[0] == "hand clapping"
    # First gesture: 100 in the first half of 100..300, 200 in the second; second: 500, 600 and 700, 800.
    assert data.inputs.sum(axis=(2, 3, 4)).tolist() == [[1, 1], [2, 2]]
    assert data.inputs[0, 0, 1, 5, 1] == data.inputs[1, 1, 1, 5, 8] == 1


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ("12,1,2\n", r"line 2 is '12,1,2': classes are 1\.\.11"),
        ("1,5,5\n", "start lies before end"),
        ("1,5\n", "must be class,start,end in integers"),
        ("1,a,b\n", "must be class,start,end in integers"),
    ],
)
def test_bad_labels(recording, labels, message):
    with pytest.raises(ValueError, match=message):
        load("dvs-gesture", "train", root=recording(labels))


def test_missing_parts(recording):
    root = recording(listed="user01_led.aedat\nuser02_led.aedat")
    with pytest.raises(FileNotFoundError, match=r"user02_led_labels\.csv: missing"):
        load("dvs-gesture", "train", root=root)
    (root / "dvs-gesture" / "DvsGesture" / "user02_led_labels.csv").write_text("class,a,b\n1,1,2\n")
    with pytest.raises(FileNotFoundError, match=r"user02_led\.aedat: missing, though the list of trials names it"):
        load("dvs-gesture", "train", root=root)
    with pytest.raises(FileNotFoundError, match=r"trials_to_test\.txt: missing"):
        load("dvs-gesture", "test", root=root)
