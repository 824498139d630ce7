"""An exploration by hand, with every kind of row."""

from bitspike.explore import Baseline, Exploration, Row

NASTY = "<script>alert('&')</script>"


def exploration(**identity: object) -> Exploration:
    rows = (
        Row(0, "complete", {"weight.bits": 1, "scheme": "ptq"}, {"accuracy": 0.80, "memory": 500}),
        Row(
            1,
            "complete",
            {"weight.bits": 4, "scheme": "itq"},
            {"accuracy": 0.91, "memory": 1500, "history": [0.5, 0.91]},
        ),
        Row(2, "complete", {"weight.bits": 8, "scheme": "ptq"}, {"accuracy": 0.90, "memory": 3000}),
        Row(3, "pruned", {"weight.bits": 2, "scheme": "itq"}, {"memory": 700, "history": [0.2]}),
        Row(4, "failed", {"weight.bits": 3, "scheme": "ptq"}, {"error": NASTY}),
        Row(5, "waiting", {"weight.bits": 5, "scheme": "ptq"}, {}),
    )
    return Exploration(
        ("accuracy", "memory"), Baseline(0.92, 8000), rows, {"objectives": ["accuracy", "memory"], **identity}
    )
