import gzip
import lzma
import zipfile

import pytest

from bitspike.data.packed import find_packed, iterate_members, read_packed, read_tar_files

CONTENT = bytes(range(256)) * 40


@pytest.mark.parametrize(
    ("suffix", "pack"), [("", bytes), (".gz", gzip.compress), (".xz", lzma.compress)], ids=["plain", "gz", "xz"]
)
def test_every_packing_reads_the_same(tmp_path, suffix, pack):
    (tmp_path / f"batch{suffix}").write_bytes(pack(CONTENT))
    path = find_packed(tmp_path, "batch")
    assert path == tmp_path / f"batch{suffix}"
    assert read_packed(path) == CONTENT
    with pytest.raises(ValueError, match="unpacks to more than 100 bytes"):
        read_packed(path, limit=100)


@pytest.mark.parametrize(("suffix", "pack"), [(".gz", gzip.compress), (".xz", lzma.compress)])
@pytest.mark.parametrize("damage", [lambda data: data[:-9], lambda data: data[:20], lambda data: b"no " + data])
def test_cut_and_damaged_files_are_named(tmp_path, suffix, pack, damage):
    path = tmp_path / f"batch{suffix}"
    path.write_bytes(damage(pack(CONTENT)))
    with pytest.raises(ValueError, match=rf"batch\{suffix}: the file is cut short or damaged"):
        read_packed(path)


def test_plain_file_goes_first_and_missing_is_none(tmp_path):
    (tmp_path / "batch.gz").write_bytes(gzip.compress(b"packed"))
    (tmp_path / "batch").write_bytes(b"plain")
    assert read_packed(find_packed(tmp_path, "batch")) == b"plain"
    assert find_packed(tmp_path, "other") is None


@pytest.mark.parametrize("name", ["all.tar", "all.tar.gz", "all.tar.xz"])
def test_tar_members_by_base_name(tmp_path, make_tar, name):
    path = make_tar(tmp_path / name, {"set/one": b"1", "../../outside": b"2", "set/three": b"3"})
    assert read_tar_files(path, ["one", "three"]) == {"one": b"1", "three": b"3"}
    assert not (tmp_path.parent / "outside").exists()
    with pytest.raises(ValueError, match="holds no four"):
        read_tar_files(path, ["one", "four"])


def test_cut_tar_is_named(tmp_path, make_tar):
    path = make_tar(tmp_path / "all.tar.gz", {"one": bytes(5000), "two": CONTENT})
    path.write_bytes(path.read_bytes()[:-60])
    with pytest.raises(ValueError, match=r"all\.tar\.gz: the file is cut short or damaged"):
        read_tar_files(path, ["one", "two"])


def test_folder_zip_and_tar_give_equal_members(tmp_path, make_tar):
    members = {"set/a.x": b"1", "set/sub/b.x": b"22", "set/c.y": b"333"}
    for name, data in members.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    make_tar(tmp_path / "set.tar", members)
    expected = {"set/a.x": b"1", "set/sub/b.x": b"22"}
    for name in ("set", "set.zip", "set.tar"):
        assert dict(iterate_members(tmp_path / name, lambda member: member.endswith(".x"))) == expected


def test_member_above_the_limit(tmp_path, make_tar):
    path = make_tar(tmp_path / "all.tar", {"big": CONTENT})
    with pytest.raises(ValueError, match="big has 10240 bytes, allowed are 10"):
        dict(iterate_members(path, lambda name: True, limit=10))


def test_damaged_zip_is_named(tmp_path):
    (tmp_path / "set.zip").write_bytes(b"PK\x03\x04 nothing")
    with pytest.raises(ValueError, match=r"set\.zip: the file is cut short or damaged"):
        dict(iterate_members(tmp_path / "set.zip", lambda name: True))
