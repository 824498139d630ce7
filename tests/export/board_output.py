"""What the self-test prints, and what it must print."""

from __future__ import annotations

import re
import subprocess

from bitspike.export.vectors import spike_hash


def expected_lines(net, samples):
    """The lines of the self-test, from the reference: spikes and hash of every layer, logits, class."""
    values, logits = net.spikes(samples), net.predict(samples)
    lines = []
    for number in range(len(logits)):
        for node in net.graph.spiking:
            spikes = values[node.name][:, number]
            lines.append(f"sample {number} layer {node.name} spikes {int(spikes.sum())} hash {spike_hash(spikes):x}")
        numbers = " ".join(str(int(value)) for value in logits[number])
        lines.append(f"sample {number} logits {numbers} class {int(logits[number].argmax())}")
    return [*lines, "self-test passed"]


def make(folder, *words):
    """Run make in the folder of an export; what it printed. Fails with its output."""
    done = subprocess.run(["make", "-s", "-C", str(folder), *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"make {' '.join(words)}: {done.stdout}{done.stderr}"
    return done.stdout + done.stderr  # qemu's semihosting prints to standard error


def stack_bytes(text):
    """The stack that a board says it used."""
    found = re.search(r"^stack (\d+) bytes$", text, re.MULTILINE)
    assert found, text
    return int(found[1])
