"""`scaling accelerators`."""

from __future__ import annotations

import click

from scaling.commands.shared import json_option, print_json, table_text


@click.command()
@json_option
def accelerators(as_json: bool) -> None:
    """Accelerators with peak, memory, power, and the price assumed."""
    from dataclasses import asdict

    from scaling.hardware import ACCELERATORS

    chips = list(ACCELERATORS.values())
    if as_json:
        print_json([asdict(c) for c in chips])
        return

    def shown(value: float | None, scale: float, form: str = ".0f") -> str:
        return "-" if value is None else f"{value / scale:{form}}"

    rows = [
        (c.key, shown(c.bf16, 1e12), shown(c.fp8, 1e12), shown(c.memory, 1e9), shown(c.bandwidth, 1e12, ".2f"), shown(c.power, 1),
         shown(c.usd_per_hour, 1, ".2f"))
        for c in chips
    ]  # fmt: skip
    click.echo(
        table_text(rows, ("accelerator", "bf16 TFLOP/s", "fp8 TFLOP/s", "memory GB", "TB/s", "W", "$/h (assumed)"))
    )
