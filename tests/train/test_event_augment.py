import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bitspike.train.augment import AugmentConfig
from bitspike.train.event_augment import build_event_augment


def counts(batch: int, time: int = 4, height: int = 16, width: int = 20, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 4, (batch, time, 2, height, width), dtype=torch.uint8, generator=generator)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_roll_loses_no_event_and_reaches_every_shift() -> None:
    events = torch.zeros(3000, 2, 2, 12, 12, dtype=torch.uint8)
    events[:, :, :, 6, 6] = 3
    result = build_event_augment(AugmentConfig(roll=2))(events, seeded())
    assert torch.equal(result.sum(dim=(3, 4)), events.sum(dim=(3, 4)))
    shifts = {(int(row) - 6, int(column) - 6) for _, row, column in result[:, 0, 0].nonzero()}
    assert shifts == {(down, right) for down in range(-2, 3) for right in range(-2, 3)}


def test_roll_wraps_around() -> None:
    events = counts(64)
    result = build_event_augment(AugmentConfig(roll=3))(events, seeded())
    for sample, rolled in zip(events, result, strict=True):
        candidates = [torch.roll(sample, (down, right), (2, 3)) for down in range(-3, 4) for right in range(-3, 4)]
        assert any(torch.equal(rolled, candidate) for candidate in candidates)


def test_flip_mirrors_whole_recordings() -> None:
    events = counts(40)
    result = build_event_augment(AugmentConfig(flip=True))(events, seeded())
    mirrored = [torch.equal(after, before.flip(-1)) for before, after in zip(events, result, strict=True)]
    kept = [torch.equal(after, before) for before, after in zip(events, result, strict=True)]
    assert all(one != other for one, other in zip(mirrored, kept, strict=True))
    assert 8 < sum(mirrored) < 32


def test_all_time_steps_and_polarities_move_together() -> None:
    frame = counts(50, time=1)[:, :, :1]
    events = frame.expand(50, 5, 2, 16, 20)
    augment = build_event_augment(AugmentConfig(flip=True, roll=4, nda=30, cutout=6))
    result = augment(events, seeded())
    assert torch.equal(result, result[:, :1, :1].expand_as(result))
    assert not torch.equal(result, events)


def test_nda_takes_one_of_its_choices_for_each_recording() -> None:
    # a full frame: roll leaves it, cutout takes a square, rotation and shear leave corners without events
    events = torch.ones(400, 1, 1, 16, 16, dtype=torch.uint8)
    result = build_event_augment(AugmentConfig(nda=30, roll=4, cutout=6))(events, seeded())[:, 0, 0]
    whole = (result == 1).all(dim=(1, 2))
    assert 0.15 < whole.double().mean() < 0.40
    middle_rows_kept = (result[:, 7:9] == 1).all(dim=(1, 2))
    assert 0.5 < middle_rows_kept.double().mean() < 0.95
    without_roll = build_event_augment(AugmentConfig(nda=30))(events, seeded())[:, 0, 0]
    assert (without_roll == 1).all(dim=(1, 2)).double().mean() < 0.2


def test_empty_places_hold_no_events() -> None:
    events = torch.full((100, 2, 2, 24, 24), 5, dtype=torch.uint8)
    result = build_event_augment(AugmentConfig(nda=45))(events, seeded())
    assert set(result.unique().tolist()) == {0, 5}


@settings(max_examples=20, deadline=None)
@given(
    st.integers(0, 6),
    st.integers(1, 3),
    st.integers(1, 8),
    st.integers(1, 8),
    st.integers(0, 10),
    st.sampled_from([0.0, 15.0, 45.0]),
    st.integers(0, 2**31),
)
def test_same_generator_state_same_output(
    batch: int, time: int, height: int, width: int, roll: int, angle: float, seed: int
) -> None:
    events = counts(batch, time, height, width)
    before = events.clone()
    augment = build_event_augment(AugmentConfig(flip=0.5, roll=roll, nda=angle, cutout=3 if angle else 0))
    first = augment(events, seeded(seed))
    assert first.shape == events.shape
    assert first.dtype == torch.uint8
    assert torch.equal(events, before)
    assert torch.equal(augment(events, seeded(seed)), first)
    time_first = events.transpose(0, 1).contiguous().transpose(0, 1)
    assert torch.equal(augment(time_first, seeded(seed)), first)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_device_gives_the_same() -> None:
    augment = build_event_augment(AugmentConfig(flip=True, roll=5, nda=30, cutout=6))
    events = counts(64)
    assert torch.equal(augment(events.cuda(), seeded()).cpu(), augment(events, seeded()))


def test_image_fields_are_refused_on_events() -> None:
    with pytest.raises(ValueError, match="crop is 4, but it cannot be used on events"):
        build_event_augment(AugmentConfig(crop=4))
    with pytest.raises(ValueError, match="autoaugment is 'cifar10', but"):
        build_event_augment(AugmentConfig(autoaugment=True))
    with pytest.raises(ValueError, match="cutout is 8, but it cannot be used on events without nda; set nda"):
        build_event_augment(AugmentConfig(cutout=8))


def test_bad_events_are_named() -> None:
    augment = build_event_augment(AugmentConfig(flip=True))
    with pytest.raises(ValueError, match=r"\[B, T, C, H, W\], got torch.uint8 of shape \[4, 2, 16, 20\]"):
        augment(counts(1)[0], seeded())
    with pytest.raises(ValueError, match=r"got torch.int64"):
        augment(counts(1).long(), seeded())
