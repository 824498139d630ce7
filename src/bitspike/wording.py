"""Numbers in words that fit a column, and plain tables: what a person reads of a report."""

from __future__ import annotations

from collections.abc import Sequence


def columns(names: Sequence[str], rows: Sequence[Sequence[str]], *, left: Sequence[int] = (0,)) -> str:
    """A plain table: names and rows in aligned columns, right-aligned but for those listed in `left`."""
    lines = [tuple(names), *(tuple(row) for row in rows)]
    widths = [max(len(line[place]) for line in lines) for place in range(len(names))]
    return "\n".join(
        "  ".join(
            text.ljust(width) if place in left else text.rjust(width)
            for place, (text, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def percent(fraction: float | None, digits: int = 2) -> str:
    """A fraction as a percentage."""
    return "" if fraction is None else f"{100 * fraction:.{digits}f} %"


def size(count: int) -> str:
    """Bytes in the unit that keeps three figures; 1 kB is 1,000 bytes, as in the papers."""
    return f"{count} B" if count < 1000 else _scaled(count, ("kB", "MB", "GB", "TB"))


def amount(count: float | None) -> str:
    """A count, with k, M or G from 10,000 on."""
    if count is None:
        return ""
    return f"{count:,.0f}" if count < 10_000 else _scaled(count, ("k", "M", "G", "T"))


def _scaled(value: float, units: Sequence[str]) -> str:
    power = 0
    value /= 1000
    # 999.5 would print as 1000 of the smaller unit.
    while value >= 999.5 and power < len(units) - 1:
        value /= 1000
        power += 1
    digits = 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:.{digits}f} {units[power]}"


def seconds(value: float) -> str:
    """A duration as a person says it."""
    if value < 10:
        return f"{value:.1f} s"
    if value < 100:
        return f"{value:.0f} s"
    minutes, rest = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def joules(value: float) -> str:
    """An energy, in the unit that keeps three figures."""
    for factor, unit in ((1, "J"), (1e-3, "mJ"), (1e-6, "µJ"), (1e-9, "nJ")):
        if value >= factor:
            return f"{value / factor:.3g} {unit}"
    return f"{value / 1e-12:.3g} pJ"


def ratio(large: float, small: float) -> str:
    """How many times larger one is."""
    return f"{large / small:.1f}x" if small else ""


def shape(sizes: Sequence[int]) -> str:
    """A shape, 3x32x32."""
    return "x".join(str(part) for part in sizes)
