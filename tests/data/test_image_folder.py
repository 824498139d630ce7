import numpy as np
import pytest

from bitspike.data import load, load_image_folder

Image = pytest.importorskip("PIL.Image", reason="pictures need Pillow: pip install bitspike[train]")


def save(path, colour, size=(4, 3), mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, colour).save(path)


def test_class_folders(tmp_path):
    save(tmp_path / "train" / "cat" / "2.png", (10, 20, 30))
    save(tmp_path / "train" / "cat" / "1.png", (1, 2, 3))
    save(tmp_path / "train" / "dog" / "1.bmp", 7, mode="L")
    save(tmp_path / "test" / "dog" / "9.png", (40, 50, 60))
    (tmp_path / "train" / "dog" / "notes.txt").write_text("no picture")
    train = load_image_folder(tmp_path, "train")
    assert train.inputs.shape == (3, 3, 3, 4)
    assert train.inputs[:, :, 0, 0].tolist() == [[1, 2, 3], [10, 20, 30], [7, 7, 7]]
    assert (train.labels.tolist(), train.class_names) == ([0, 0, 1], ("cat", "dog"))
    assert train.mean == pytest.approx((18 / 3 / 255, 29 / 3 / 255, 40 / 3 / 255))
    test = load_image_folder(tmp_path, "test")
    assert (test.labels.tolist(), test.classes) == ([1], 2)
    assert (test.mean, test.std) == (train.mean, train.std)
    grey = load_image_folder(tmp_path, "train", channels=1)
    assert grey.input_shape == (1, 3, 4)


def test_tiny_imagenet_layout(tmp_path):
    base = tmp_path / "tiny-imagenet"
    for wnid, colour in (("n02", 200), ("n01", 100)):
        save(base / "train" / wnid / "images" / f"{wnid}_0.JPEG", colour, (64, 64), "L")
    for number in range(2):
        save(base / "val" / "images" / f"val_{number}.JPEG", 50 * number, (64, 64), "L")
    save(base / "test" / "images" / "test_0.JPEG", 0, (64, 64), "L")
    (base / "val" / "val_annotations.txt").write_text("val_0.JPEG\tn02\t0\t0\t9\t9\nval_1.JPEG\tn01\t0\t0\t9\t9\n")
    train = load("tiny-imagenet", "train", root=tmp_path)
    assert (train.inputs.shape, train.class_names) == ((2, 3, 64, 64), ("n01", "n02"))
    assert train.inputs[:, 0, 0, 0].tolist() == [100, 200]
    test = load("tiny-imagenet", "test", root=tmp_path, size=(32, 32))
    assert (test.inputs.shape, test.labels.tolist()) == ((2, 3, 32, 32), [0, 1])
    assert test.inputs[:, 0, 0, 0].tolist() == [50, 0]
    assert train.mean == (0.4802, 0.4481, 0.3975)
    (base / "val" / "images" / "val_0.JPEG").unlink()
    with pytest.raises(FileNotFoundError, match=r"val_0\.JPEG: no such picture, though it is listed"):
        load("tiny-imagenet", "test", root=tmp_path)
    (base / "val" / "val_annotations.txt").write_text("val_1.JPEG\tn03\t0\n")
    with pytest.raises(ValueError, match=r"classes \['n03'\] do not occur in train"):
        load("tiny-imagenet", "test", root=tmp_path)
    (base / "val" / "val_annotations.txt").write_text("val_1.JPEG\n")
    with pytest.raises(ValueError, match=r"line 1 is 'val_1\.JPEG', but must be file, tab, class"):
        load("tiny-imagenet", "test", root=tmp_path)


def test_sizes_must_agree_or_be_asked_for(tmp_path):
    save(tmp_path / "train" / "a" / "1.png", 9, mode="L")
    save(tmp_path / "train" / "a" / "2.png", 9, (6, 6), "L")
    with pytest.raises(ValueError, match=r"2\.png: \[6, 6\] pixels, but 1\.png has \[3, 4\]; give size"):
        load_image_folder(tmp_path, "train")
    data = load_image_folder(tmp_path, "train", size=(5, 7))
    assert data.input_shape == (3, 5, 7)
    assert np.unique(data.inputs).tolist() == [9]


@pytest.mark.parametrize("damage", [lambda data: b"no picture", lambda data: data[: len(data) // 2], lambda data: b""])
def test_broken_pictures_are_named(tmp_path, damage):
    path = tmp_path / "train" / "a" / "1.png"
    path.parent.mkdir(parents=True)
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=r"1\.png: no readable picture .*; remove or replace the file"):
        load_image_folder(tmp_path, "train")


def test_hidden_folders_are_no_classes_and_empty_ones_are_named(tmp_path):
    for name in ("train/a/1.png", "train/b/1.png", "train/.ipynb_checkpoints/1.png", "train/b/.thumbnails/1.png"):
        save(tmp_path / name, 9, mode="L")
    for name in ("test/b/1.png", "test/b/._1.png", "test/.trash/1.png"):
        save(tmp_path / name, 9, mode="L")
    train, test = (load_image_folder(tmp_path, split) for split in ("train", "test"))
    assert (train.class_names, train.labels.tolist()) == (("a", "b"), [0, 1])
    assert (test.classes, test.labels.tolist()) == (2, [1])
    (tmp_path / "train" / "empty").mkdir()
    for split in ("train", "test"):
        with pytest.raises(FileNotFoundError, match=r"train/empty: holds no pictures .*; remove it, or fill it"):
            load_image_folder(tmp_path, split)


def test_missing_folders(tmp_path):
    with pytest.raises(FileNotFoundError, match="train: no such folder"):
        load_image_folder(tmp_path, "train")
    (tmp_path / "train" / "a").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match="holds no pictures"):
        load_image_folder(tmp_path, "train")
    save(tmp_path / "train" / "a" / "1.png", 0, mode="L")
    with pytest.raises(FileNotFoundError, match="has neither test/, val/ nor validation/"):
        load_image_folder(tmp_path, "test")
    with pytest.raises(ValueError, match="channels is 2"):
        load_image_folder(tmp_path, "train", channels=2)
