"""Imports point one way, and importing the package costs next to nothing."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "scaling"
#: layer -> the layers it may import; a layer is a module or a folder of the package
ALLOWED = {
    "errors": set(),
    "progress": set(),
    "quantities": {"errors"},
    "laws": {"errors"},
    "compute": {"errors", "laws"},
    "hardware": {"errors"},
    "logs": {"errors", "progress", "quantities", "compute"},
    "fitting": {"errors", "laws"},
    "uncertainty": {"errors", "laws", "fitting"},
    "allocation": {"errors", "laws", "compute", "quantities"},
    "simulation": {"errors", "laws", "fitting", "allocation", "compute"},
    "selection": {"errors", "progress", "laws", "fitting", "uncertainty", "logs", "quantities"},
    "approaches": {"errors", "progress", "laws", "fitting", "uncertainty", "logs", "quantities", "compute", "allocation"},
    "curves": {"errors", "progress", "laws", "fitting", "uncertainty", "logs", "quantities"},
    "planning": {
        "errors", "laws", "fitting", "uncertainty", "allocation", "compute", "hardware", "quantities", "capability", "training",
    },
    "capability": {"errors", "laws", "fitting", "uncertainty", "allocation", "compute", "quantities", "curves"},
    "calculators": {"errors", "laws", "allocation"},
    "groups": {"errors", "laws", "fitting", "uncertainty"},
    "training": {"errors", "laws", "allocation", "compute", "hardware", "quantities"},
    "designing": {"errors", "progress", "laws", "fitting", "uncertainty", "allocation", "compute", "quantities"},
    "refitting": {"errors", "laws", "fitting", "uncertainty", "logs", "quantities", "compute"},
    "charts": {
        "errors", "laws", "fitting", "uncertainty", "allocation", "planning", "compute", "quantities", "approaches",
        "selection", "curves", "capability", "simulation", "training", "designing",
    },
    "sections": {
        "errors", "laws", "fitting", "approaches", "capability", "curves", "designing", "planning", "selection", "charts", "logs",
        "refitting",
    },
}  # fmt: skip
DOORS = {"__init__", "__main__", "cli", "commands", "report"}


def layers_imported(path: Path) -> set[str]:
    """Layers of the package that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "scaling":
            parts = node.module.split(".")[1:]
            found |= {parts[0]} if parts else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {a.name.split(".")[1] for a in node.names if a.name.startswith("scaling.")}
    return found


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_one_way(path):
    layer = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if layer in DOORS:
        return
    assert layer in ALLOWED, f"{layer} has no place in the layer table yet"
    assert layers_imported(path) - {layer} <= ALLOWED[layer]


def test_the_layer_table_has_no_cycle():
    seen: set[str] = set()
    while len(seen) < len(ALLOWED):
        free = {layer for layer, below in ALLOWED.items() if below <= seen} - seen
        assert free, f"a cycle among {set(ALLOWED) - seen}"
        seen |= free


def loaded_by(code: str) -> set[str]:
    script = f"import sys\n{code}\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return {name.split(".")[0] for name in done.stdout.splitlines()[-1].split()}


def test_importing_the_package_loads_nothing_heavy():
    assert not loaded_by("import scaling") & {
        "numpy",
        "pandas",
        "scipy",
        "altair",
        "streamlit",
        "statsmodels",
        "click",
        "dask",
    }


def test_fitting_loads_no_charts_no_app_and_no_cluster_engine():
    code = "import scaling; scaling.fit; scaling.read_runs; scaling.bootstrap; scaling.plan"
    assert not loaded_by(code) & {"altair", "streamlit", "statsmodels", "click", "dask"}


def test_help_loads_neither_numpy_nor_pandas_nor_scipy():
    code = "from scaling.cli import main\ntry:\n    main(['--help'])\nexcept SystemExit:\n    pass"
    assert not loaded_by(code) & {"numpy", "pandas", "scipy", "altair"}


def test_every_public_name_exists():
    import scaling

    for name in scaling.__all__:
        assert getattr(scaling, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        scaling.nothing  # noqa: B018


def test_no_public_name_is_hidden_by_a_module_of_that_name():
    import scaling

    assert not {name for name in scaling._MODULE_OF if (PACKAGE / name).exists() or (PACKAGE / f"{name}.py").exists()}
