"""A bar on a terminal, lines elsewhere."""

import io
import logging

from rich.console import Console

from bitspike.train.progress import TrainingProgress, epoch_line, firing_text

RECORD = {
    "epoch": 1,
    "loss": 0.25,
    "train_accuracy": 0.9,
    "validation_accuracy": 0.875,
    "firing_rates": {"conv1": 0.12, "conv2": 0.3},
    "samples_per_second": 1234.4,
}


def run(console, show=True):
    with TrainingProgress(console=console, show=show) as display:
        display.begin("digits", 3, 10, 32, 5)
        display.step(6, 0, 0.5, {"conv1": 0.12})
        display.epoch(RECORD)
        if display.bar is not None:
            display.bar.refresh()
    return console.file.getvalue()


def test_epoch_line():
    line = epoch_line(RECORD, 3)
    assert line == "epoch 2/3  loss 0.2500  train 90.00 %  validation 87.50 %  firing 12/30 %  1234 samples/s"
    assert "validation" not in epoch_line({**RECORD, "validation_accuracy": None}, 3)


def test_firing_text():
    assert firing_text({}) == "none"
    assert firing_text({"a": 0.055, "b": 1.0}) == "6/100 %"


def test_a_terminal_gets_a_bar_with_rate_loss_and_firing():
    text = run(Console(file=io.StringIO(), force_terminal=True, width=160))
    for words in ("digits", "epoch 1/3", "samples/s", "loss 0.500", "firing 12 %", "validation 87.50 %"):
        assert words in text


def test_elsewhere_there_is_one_log_line_per_epoch(caplog):
    caplog.set_level(logging.INFO, logger="bitspike.train")
    assert run(Console(file=io.StringIO(), force_terminal=False)) == ""
    assert [record.getMessage() for record in caplog.records] == [
        "digits resumes at epoch 1 of 3",
        epoch_line(RECORD, 3),
    ]


def test_a_terminal_can_be_told_to_be_quiet():
    assert run(Console(file=io.StringIO(), force_terminal=True), show=False) == ""
