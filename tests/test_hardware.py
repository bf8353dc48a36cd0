"""Accelerators: figures that hang together, sources, and names however they are written."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import FrozenInstanceError

import pytest

from scaling.errors import PlanError
from scaling.hardware import ACCELERATORS, accelerator
from scaling.laws.published import STATUSES

every_accelerator = pytest.mark.parametrize("chip", ACCELERATORS.values(), ids=ACCELERATORS)


@every_accelerator
def test_figures_are_in_the_units_they_claim(chip):
    assert 1e14 <= chip.bf16 <= 5e15  # FLOP/s
    assert 1.5e10 <= chip.memory <= 4e11  # bytes
    assert 5e11 <= chip.bandwidth <= 1e13  # bytes/s
    assert chip.power is None or 250 <= chip.power <= 1500  # W
    # a dense fp8 unit is twice as fast as bf16; four times would be the figure "with sparsity"
    assert chip.fp8 is None or chip.fp8 / chip.bf16 == pytest.approx(2, rel=0.03)


@every_accelerator
def test_every_accelerator_says_where_its_figures_come_from_and_when_they_were_read(chip):
    assert chip.source
    assert chip.title
    assert chip.status in STATUSES
    year, month = map(int, chip.checked.split("-"))
    assert 2024 <= year <= 2100
    assert 1 <= month <= 12


@every_accelerator
def test_price_assumptions_lie_inside_their_range(chip):
    assert (chip.usd_per_hour is None) == (chip.usd_range is None)
    if chip.usd_per_hour is not None:
        low, high = chip.usd_range
        assert 0.1 <= low < chip.usd_per_hour < high <= 20


@every_accelerator
def test_measured_matrix_products_stay_below_the_peak(chip):
    assert chip.matmul_share is None or 0.3 < chip.matmul_share < 1


def test_peaks_are_dense_ones_of_the_data_sheets():
    """NVIDIA and Google data sheets, dense: H100 SXM 989 TFLOP/s (1979 with sparsity), A100 312, TPU v4 275, TPU v5p 459."""
    dense = {"H100-SXM": 989e12, "A100-SXM-80GB": 312e12, "TPU-v4": 275e12, "TPU-v5p": 459e12, "V100-SXM2-32GB": 125e12}
    assert {key: ACCELERATORS[key].bf16 for key in dense} == dense


def test_the_figures_agree_with_the_compiled_facts(science):
    import tomllib

    facts = tomllib.loads(science("compute.toml").read_text())
    assert {a["id"] for a in facts["accelerator"]} == {key.lower() for key in ACCELERATORS}
    for fact in facts["accelerator"]:
        chip = accelerator(fact["id"])
        assert (chip.bf16, chip.fp8, chip.memory, chip.bandwidth, chip.power) == (
            fact["bf16"], fact.get("fp8"), fact["memory"], fact["bandwidth"], fact.get("power"),
        )  # fmt: skip
        price = facts["price_assumption"].get(fact["id"])
        assert chip.usd_per_hour == (price and price["mid"])


@every_accelerator
def test_every_key_and_title_finds_its_accelerator(chip):
    for name in (chip.key, chip.key.lower(), chip.key.replace("-", " "), chip.key.replace("-", "_")):
        assert accelerator(name) is chip


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("H100", "H100-SXM"),
        ("h100-sxm5", "H100-SXM"),
        ("NVIDIA H100 80GB", "H100-SXM"),
        ("h100 pcie", "H100-PCIe"),
        ("A100", "A100-SXM-80GB"),
        ("A100 40GB", "A100-SXM-40GB"),
        ("A100 80GB", "A100-SXM-80GB"),
        ("A100 SXM4 80GB", "A100-SXM-80GB"),
        ("a100 pcie", "A100-PCIe-80GB"),
        ("Tesla V100 SXM2 32GB", "V100-SXM2-32GB"),
        ("TPU v5p", "TPU-v5p"),
        ("tpuv4", "TPU-v4"),
        ("AMD Instinct MI300X", "MI300X"),
        ("trn2", "Trainium2"),
    ],
)
def test_names_are_forgiven(name, key):
    assert accelerator(name).key == key


@pytest.mark.parametrize(("name", "hint"), [("H101", "H100-SXM"), ("tpu-v9", "TPU-v"), ("b20", "B200-SXM")])
def test_an_unknown_name_is_refused_with_the_nearest(name, hint):
    with pytest.raises(PlanError, match=rf"no accelerator is called '{name}'; did you mean .*{hint}"):
        accelerator(name)


@pytest.mark.parametrize("name", ["", "nvidia", "quantum annealer"])
def test_a_name_like_no_other_is_refused_with_the_whole_list(name):
    with pytest.raises(PlanError, match=r"there are: .*H100-SXM"):
        accelerator(name)


def test_an_accelerator_does_not_change():
    with pytest.raises(FrozenInstanceError):
        accelerator("H100").bf16 = 1.0


def test_the_table_is_light_to_import():
    code = "import sys, scaling.hardware; print([m for m in ('pandas', 'scipy', 'altair') if m in sys.modules])"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )


def test_published_runs_used_a_plausible_share_of_the_peak(science):
    """6 N D over chip-hours and dense peak, end to end: 10 to 60 % for every run whose authors print its chip-hours."""
    import tomllib

    from scaling.compute import DENSE, mfu

    runs = [r for r in tomllib.loads(science("compute.toml").read_text())["run"] if "chip_hours" in r]
    assert len(runs) >= 20
    used = {}
    for run in runs:
        seconds, n = run["chip_hours"] * 3600, run.get("n_active", run["n"])
        used[run["name"]] = float(mfu(run["d"] / seconds, DENSE.flops(n, 1), 1, accelerator(run["chip"]).bf16))
    assert {k: v for k, v in used.items() if not 0.1 < v < 0.6} == {}
    # as computed elsewhere from the same papers
    assert used["LLaMA 65B"] == pytest.approx(0.48, abs=0.005)
    assert used["Llama 3.1 405B"] == pytest.approx(0.35, abs=0.005)
    assert used["DeepSeek-V3"] == pytest.approx(0.35, abs=0.005)
    # Pre-training alone took 2.664e6 H800 hours; at 2 USD the whole 2.788e6 cost the 5.576 M USD that arXiv:2412.19437 prints
    (deepseek,) = (r for r in runs if r["name"] == "DeepSeek-V3")
    assert deepseek["chip_hours_total"] * deepseek["usd_assumed_per_chip_hour"] == pytest.approx(
        deepseek["usd_total_reported"]
    )
