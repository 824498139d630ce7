"""What a process costs that only runs finished networks: no torch, and little memory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bitspike.engine import builds
from bitspike.runtime import IntegerNet

needs_engine = pytest.mark.skipif(not builds(), reason="no engine was built here")
MEBIBYTES = 60

PREDICT = """
import sys
import numpy as np
from bitspike.runtime import IntegerNet
net = IntegerNet.load(sys.argv[1])
sample = np.random.default_rng(0).integers(0, 256, (1, *net.graph.input.shape), dtype=np.uint8)
for _ in range(3):
    logits = net.predict(sample)
print(*logits[0])
print(*(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
print("torch" in sys.modules)
"""


@pytest.fixture(scope="module")
def resnet19(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ResNet19 with random 1-bit weights and statistics under which its layers fire."""
    import torch

    from bitspike import lower
    from bitspike.model import create_model

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = create_model("resnet19", spec="1w2u").train()
        with torch.no_grad():
            net(torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8))
    path = tmp_path_factory.mktemp("memory") / "resnet19.bsp"
    lower(net.eval()).save(path)
    return path


@needs_engine
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of resident memory is read from /proc")
def test_a_prediction_process_stays_small_and_without_torch(resnet19):
    environment = {name: value for name, value in os.environ.items() if name != "BITSPIKE_ENGINE"}
    command = [sys.executable, "-c", PREDICT, str(resnet19)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    logits, kibibytes, torch_was_imported = done.stdout.splitlines()
    assert torch_was_imported == "False"
    if "LD_PRELOAD" not in os.environ:  # sanitizers keep shadow memory
        assert int(kibibytes) < MEBIBYTES * 1024
    sample = np.random.default_rng(0).integers(0, 256, (1, 3, 32, 32), dtype=np.uint8)
    assert logits.split() == [str(value) for value in IntegerNet.load(resnet19).predict(sample)[0]]
