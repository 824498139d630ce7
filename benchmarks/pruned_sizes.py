"""QP-SNN's model sizes as printed, as counted of networks really pruned and saved, and as bytes of our integer files.

    .venv/bin/python benchmarks/pruned_sizes.py --json          some minutes; the last line is one JSON object

The paper counts hidden weights at k bits and keeps ends, biases and batch norms in float; it ships no file. Ours holds
every number that is computed with: ends of 8 bits, thresholds, shifts. Sizes do not depend on training, so weights are
random.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from _shared.machine import machine

SMALL = {"input_shape": (3, 8, 8), "time_steps": 1}  # ResNet20's sizes do not depend on the image
CIFAR = {"input_shape": (3, 32, 32), "time_steps": 1}
TINY = {"input_shape": (3, 64, 64), "time_steps": 1, "classes": 200}
EVENTS = {"input_shape": (2, 48, 48), "time_steps": 1, "bound": 1}  # two channels and ten classes, as the data are

TABLE_1 = [
    ("qpsnn-resnet20-larger", {**SMALL, "classes": 10}, "6.27 3.16 1.61"),
    ("qpsnn-resnet20-smaller", {**SMALL, "classes": 10}, "3.92 1.98 1.02"),
    ("qpsnn-resnet20-larger", {**SMALL, "classes": 100}, "6.45 3.35 1.79"),
    ("qpsnn-resnet20-smaller", {**SMALL, "classes": 100}, "4.10 2.17 1.20"),
    ("qpsnn-vgg16-cifar10-4.25M", {**CIFAR, "classes": 10}, "4.28 2.16 1.10"),
    ("qpsnn-vgg16-cifar10-1.42M", {**CIFAR, "classes": 10}, "1.45 0.74 0.39"),
    ("qpsnn-vgg16-cifar100-2.31M", {**CIFAR, "classes": 100}, "2.48 1.35 0.79"),
    ("qpsnn-vgg16-cifar100-1.68M", {**CIFAR, "classes": 100}, "1.85 1.04 0.63"),
    ("qpsnn-vgg16-tinyimagenet-4.65M", TINY, "5.90 3.78 2.72"),
    ("qpsnn-vgg16-tinyimagenet-3.43M", TINY, "4.67 3.17 2.41"),
    ("qpsnn-vggsnn-1.46M", EVENTS, "1.61 0.90 0.55"),
    ("qpsnn-vggsnn-0.9M", EVENTS, "1.05 0.62 0.41"),
    ("qpsnn-vggsnn-0.25M", EVENTS, "0.40 0.29 0.24"),
]
"""Ratios, the network's options, and the megabytes that the paper prints for hidden weights of 8, 4 and 2 bits."""


def pruned(preset: str, options: dict[str, Any], bits: int, file: Path) -> Any:
    """A network pruned by published ratios, saved and read again."""
    from bitspike import create_model
    from bitspike.prune import PRESETS, prunable_channels, prune_
    from bitspike.train import ModelHeader, load_model, save_model

    model = PRESETS[preset].model
    net = create_model(model, spec={"bits": f"{bits}w4u", "weight": {"grid": "odd", "scale": "mean"}}, **options)
    prune_(net, ratios=preset, orders={name: range(count) for name, count in prunable_channels(net).items()})
    save_model(net, file, ModelHeader(model, options))
    return load_model(file)[0].eval()


def rows_of(preset: str, options: dict[str, Any], printed: str, folder: Path) -> list[dict[str, Any]]:
    """One row for each number of bits."""
    from bitspike import lower
    from bitspike.cost import qpsnn_model_size
    from bitspike.measuring import describe

    found = []
    for bits, megabytes in zip((8, 4, 2), printed.split(), strict=True):
        net = pruned(preset, options, bits, folder / "model.safetensors")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of leaks in a network that nobody trained
            lower(net).save(folder / "network.bsp")
        rows = describe(net)
        found.append(
            {
                "case": preset,
                "classes": options.get("classes", 10),
                "bits": bits,
                "parameters": sum(row.parameters for row in rows),
                "printed_megabytes": float(megabytes),
                "counted_bytes": round(qpsnn_model_size(rows, bits)),
                "file_bytes": (folder / "network.bsp").stat().st_size,
            }
        )
    return found


def main() -> int:
    """Prune, save, lower, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="end with one line that is a JSON object")
    parser.add_argument("--out", type=Path, help="write the result there too, indented")
    parser.add_argument("--only", default="", help="ratios whose name has this in it, such as 'vggsnn'")
    given = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for preset, options, printed in TABLE_1:
        if given.only not in preset:
            continue
        with tempfile.TemporaryDirectory(prefix="bitspike-") as folder:
            rows += rows_of(preset, options, printed, Path(folder))
        for row in rows[-3:]:
            print(
                f"{preset:32} {row['classes']:>3} classes {row['bits']}w  printed {row['printed_megabytes']:.2f} MB  "
                f"counted {row['counted_bytes'] / 1e6:.2f} MB  .bsp {row['file_bytes']:>9,} bytes",
                flush=True,
            )
    ratio = max((row["counted_bytes"] / row["file_bytes"] for row in rows), default=0.0)
    result = {"benchmark": "pruned_sizes", "machine": machine(), "largest_ratio": round(ratio, 3), "rows": rows}
    if given.out:
        given.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    if given.json:
        print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
