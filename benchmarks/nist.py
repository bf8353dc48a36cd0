"""Digits of agreement with NIST's certified nonlinear regressions, beside scipy on the same files in the same run.

    python benchmarks/nist.py [--quick] [--data FOLDER]

27 problems x 2 starting points. A run counts as solved when its worst coefficient agrees to the digits in the heading;
it is silent when it is wrong and says nothing. The problems stand beside this checkout in shared/reference-data/nist-strd.
"""

from __future__ import annotations

import argparse
import importlib.util
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from scaling.errors import ScalingError
from scaling.fitting import Squared, fit
from scaling.fitting.covariance import classical
from scaling.laws.law import Array, Coef, Law

DATA = Path(__file__).resolve().parents[2] / "shared" / "reference-data" / "nist-strd"
STARTS = ("start1", "start2")
EASY = ("Misra1a", "DanWood", "Bennett5", "MGH09", "Thurber", "Rat43")  # a few of each difficulty, for --quick


@dataclass(frozen=True)
class Run:
    """One problem from one start: digits of the worst coefficient and standard error, and what the solver said."""

    problem: str
    difficulty: str
    start: str
    digits: float
    digits_se: float
    said_failure: bool
    status: str
    gradient: float
    iterations: int
    seconds: float


def reference(folder: Path = DATA) -> ModuleType:
    """The data set's own evaluate.py, which loads the problems and counts digits."""
    spec = importlib.util.spec_from_file_location("nist_evaluate", folder / "evaluate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def law_of(problem: Any, models: dict[str, Callable[..., Array]]) -> Law:
    """A problem as a user would write it: the formula and free coefficients, no derivative."""
    model = models[problem.name]

    def formula(x: Any, theta: Array) -> Array:
        return model([c[..., None] for c in np.moveaxis(theta, -1, 0)], **x)

    return Law(
        name=f"nist_{problem.name.lower()}",
        equation=problem.name,
        inputs=tuple(problem.x),
        target="y",
        coefs=tuple(Coef(f"b{i + 1}", "", (-1.0, 1.0), lower=-np.inf) for i in range(problem.meta["n_par"])),
        formula=formula,
    )


def worst(lre: Callable[[float, float], float], found: Array, certified: dict[str, float]) -> float:
    return min(lre(float(a), b) for a, b in zip(found, certified.values(), strict=True))


def by_scaling(problem: Any, start: str, evaluate: ModuleType) -> Run:
    """This package's engine."""
    law = law_of(problem, evaluate.MODELS)
    begin = dict(zip(law.coef_names, problem.meta[start].values(), strict=True))
    clock = time.process_time()
    try:
        result = fit(law, {**problem.x, "y": problem.y}, Squared(), start=begin)
    except ScalingError as error:
        seconds = time.process_time() - clock
        return Run(problem.name, problem.meta["difficulty"], start, 0, 0, True, str(error), np.nan, 0, seconds)
    seconds = time.process_time() - clock
    coordinates, runs = result.coordinates, result.problem
    assert runs is not None
    with np.errstate(all="ignore"):  # Lanczos1 lies on its curve to rounding
        covariance = classical(coordinates, result.objective, runs, coordinates.to_working(result.theta)[None])[0]
        errors = np.sqrt(np.diag(covariance))
    return Run(
        problem.name, problem.meta["difficulty"], start,
        worst(evaluate.lre, result.theta, problem.meta["certified"]), worst(evaluate.lre, errors, problem.meta["certified_se"]),
        not bool(result.converged), str(result.status), float(result.gradient), int(result.iterations), seconds,
    )  # fmt: skip


def by_scipy(settings: str) -> Callable[[Any, str, ModuleType], Run]:
    """scipy on the same files: what curve_fit and least_squares do, with and without help."""
    from scipy.optimize import OptimizeWarning, curve_fit, least_squares

    tight = dict.fromkeys(("xtol", "ftol", "gtol"), 1e-15)

    def run(problem: Any, start: str, evaluate: ModuleType) -> Run:
        law = law_of(problem, evaluate.MODELS)
        begin = np.array(list(problem.meta[start].values()))
        x = problem.x

        def predict(_: Any, *b: float) -> Array:
            return law.predict(x, np.array(b))

        def jacobian(_: Any, *b: float) -> Array:
            return law.value_and_jacobian(x, np.array(b))[1]

        failed, status = False, "returned"
        theta, errors = np.full(len(begin), np.nan), np.full(len(begin), np.nan)
        clock = time.process_time()
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("error", OptimizeWarning)
            try:
                if settings == "curve_fit":
                    theta, covariance = curve_fit(predict, np.arange(len(problem.y)), problem.y, begin)
                    errors = np.sqrt(np.diag(covariance))
                elif settings == "curve_fit lm exact tight":
                    theta, covariance = curve_fit(
                        predict, np.arange(len(problem.y)), problem.y, begin, jac=jacobian, maxfev=20000, **tight
                    )
                    errors = np.sqrt(np.diag(covariance))
                else:
                    found = least_squares(
                        lambda b: predict(None, *b) - problem.y, begin, lambda b: jacobian(None, *b),
                        x_scale="jac", max_nfev=20000, **tight,
                    )  # fmt: skip
                    theta, failed, status = found.x, not found.success, found.message
                    _, singular, right = np.linalg.svd(found.jac, full_matrices=False)  # as curve_fit does
                    variance = 2 * found.cost / (len(problem.y) - len(begin))
                    errors = np.sqrt(variance * ((right / singular[:, None]) ** 2).sum(0))
            except (RuntimeError, ValueError, OptimizeWarning, np.linalg.LinAlgError) as error:
                failed, status = True, str(error)
        seconds = time.process_time() - clock
        return Run(
            problem.name, problem.meta["difficulty"], start,
            worst(evaluate.lre, theta, problem.meta["certified"]), worst(evaluate.lre, errors, problem.meta["certified_se"]),
            failed, status, np.nan, 0, seconds,
        )  # fmt: skip

    return run


def runs(solver: Callable[[Any, str, ModuleType], Run], folder: Path = DATA, names: Any = None) -> Iterator[Run]:
    """Every problem from both starts."""
    evaluate = reference(folder)
    for problem in evaluate.problems(names):
        for start in STARTS:
            yield solver(problem, start, evaluate)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="six problems instead of 27")
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the NIST problems")
    parser.add_argument("--details", action="store_true", help="one line per run of this package")
    options = parser.parse_args()
    names = EASY if options.quick else None
    solvers = {"scaling.fit (formula only)": by_scaling} | {
        f"scipy {s}": by_scipy(s) for s in ("least_squares trf exact tight", "curve_fit lm exact tight", "curve_fit")
    }
    print("| solver | runs | 4 digits | 6 digits | mean digits | worst | std. errors to 4 digits | silent | total s |")
    print("| --- " * 9 + "|")
    details: list[Run] = []
    for label, solver in solvers.items():
        done = list(runs(solver, options.data, names))
        details = details or done
        digits = np.array([r.digits for r in done])
        silent = sum(r.digits < 4 and not r.said_failure for r in done)
        print(
            f"| {label} | {len(done)} | {(digits >= 4).sum()} | {(digits >= 6).sum()} | {digits.mean():.2f} | {digits.min():.1f} "
            f"| {sum(r.digits_se >= 4 for r in done)} | {silent} | {sum(r.seconds for r in done):.2f} |",
            flush=True,
        )
    if options.details:
        print(
            "\n| problem | difficulty | start | digits | digits of std. errors | status | gradient | iterations | ms |"
        )
        print("| --- " * 9 + "|")
        for r in details:
            print(
                f"| {r.problem} | {r.difficulty} | {r.start[-1]} | {r.digits:.1f} | {r.digits_se:.1f} | {r.status} "
                f"| {r.gradient:.0e} | {r.iterations} | {1e3 * r.seconds:.0f} |"
            )


if __name__ == "__main__":
    main()
