"""Published coefficients: well formed, sourced, and giving the losses and optima that their authors print."""

from __future__ import annotations

import re
import tomllib

import numpy as np
import pandas as pd
import pytest

from scaling.errors import LawError
from scaling.laws import LAWS
from scaling.laws.published import PUBLISHED, STATUSES, published

every_set = pytest.mark.parametrize("entry", PUBLISHED.values(), ids=PUBLISHED)


@pytest.fixture(scope="module")
def golden(science) -> dict:
    return tomllib.loads(science("test_vectors.toml").read_text())


# --- all of them -------------------------------------------------------------------------------------------------------


@every_set
def test_coefficients_lie_inside_the_bounds_of_the_law(entry):
    assert entry.theta.shape == (len(entry.law.coefs),)
    for coef, value in zip(entry.law.coefs, entry.theta, strict=True):
        assert coef.lower < value < coef.upper


@every_set
def test_the_law_is_one_that_can_be_fitted(entry):
    known = LAWS.get(entry.law.name)
    # the addition task runs in training examples: the same curve in another column
    assert known is entry.law or (
        entry.key == "caballero2022-addition" and entry.law.coef_names == LAWS["bnsl1"].coef_names
    )


@every_set
def test_every_set_says_where_it_comes_from_and_what_it_counts(entry):
    assert re.search(r"arXiv:\d{4}\.\d{5}", entry.source)
    assert entry.status in STATUSES
    assert entry.title
    assert entry.loss_unit
    inputs = set(entry.law.inputs)
    if "czech2026" not in entry.key:  # quoted without
        assert (
            entry.n_counts or not inputs & {"n_params", "n_params_non_vocab"} or entry.key.startswith(("li2025-batch",))
        )
    assert entry.d_counts or "n_tokens" not in inputs
    for low, high in entry.domain.values():
        assert 0 <= low < high


@every_set
def test_a_set_cannot_be_changed(entry):
    with pytest.raises(ValueError, match="read-only"):
        entry.theta[0] = 1.0
    with pytest.raises(TypeError):
        entry.domain["n_params"] = (0, 1)


@every_set
def test_predictions_over_the_stated_domain_are_finite_and_positive(entry):
    typical = {
        "n_params": 1e9, "n_tokens": 2e10, "flops": 1e20, "loss": 2.5, "step": 1e5, "n_samples": 500.0, "n_experts": 8.0,
        "granularity": 4.0, "sparsity": 0.5, "n_unique_tokens": 1e10, "bits_weights": 8.0, "bits_activations": 8.0,
        "bits_kv_cache": 8.0, "bits_post": 8.0, "n_params_non_vocab": 1e9, "n_params_vocab": 6.5e7, "teacher_loss": 2.2,
        "supervised_loss": 2.4, "tokens_per_param": 20.0, "n_latents": 32768.0, "n_active_latents": 32.0, "lr_sum": 5.0, "lr_annealed": 0.2, "corpus_bits": 1e12,
    }  # fmt: skip
    x = {}
    for column in entry.law.inputs:
        low, high = entry.domain.get(column, (typical[column], typical[column]))
        x[column] = np.geomspace(max(low, high * 1e-6), high, 5)
    values = entry.predict(x)
    assert np.isfinite(values).all()
    assert (values < 0).all() if entry.key == "tao2024" else (values > 0).all()  # Tao et al. subtract the unigram loss


@every_set
def test_printed_intervals_hold_the_estimate_and_name_coefficients(entry):
    assert set(entry.se) | set(entry.ci) <= {*entry.law.coef_names, "a"}
    assert bool(entry.ci_kind) or not entry.ci
    for name, (low, high) in entry.ci.items():
        if name in entry.coefs:
            assert low <= entry.coefs[name] <= high
    assert all(value > 0 for value in entry.se.values())


def test_keys_are_consistent_and_distinct():
    assert len(PUBLISHED) > 80
    for key in PUBLISHED:
        assert re.fullmatch(r"[a-z0-9]+(19|20)\d\d(-[a-z0-9]+)*|llama3-2024-optimal-d", key), key


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("hoffmann2022-3", "hoffmann2022-3"),
        ("Hoffmann2022_3", "hoffmann2022-3"),
        ("chinchilla", "hoffmann2022-3"),
        ("besiroglu", "besiroglu2024"),
        ("Besiroglu 2024", "besiroglu2024"),
        ("kaplan2020", "kaplan2020-nd"),
        ("muennighoff", "muennighoff2023"),
        ("farseer", "farseer2025"),
        ("rosenfeld2020 wikitext103", "rosenfeld2020-wikitext103"),
    ],
)
def test_names_are_forgiven(name, key):
    assert published(name).key == key


def test_an_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(LawError, match=r"no published law is called 'hofman2022'; did you mean .*hoffmann2022-3"):
        published("hofman2022")
    with pytest.raises(LawError, match="gadre2024-c4"):  # several begin so
        published("gadre")
    with pytest.raises(LawError, match="scaling published"):
        published("zzz")


def test_the_compiled_facts_are_all_here(science):
    """Every set of the compiled table that gives a prediction, by its amplitudes, wherever a law of ours has them."""
    facts = {f["id"]: f for f in tomllib.loads(science("published.toml").read_text())["law"]}
    pairs = {
        "hoffmann2022_a3": "hoffmann2022-3-printed", "hoffmann2022_a3_unrounded": "hoffmann2022-3", "besiroglu2024_huber": "besiroglu2024-huber",
        "besiroglu2024_all245": "besiroglu2024-all245", "muennighoff2023": "muennighoff2023", "muennighoff2023_base": "muennighoff2023-base",
        "open_athena_llama3": "czech2026-llama3", "kaplan2020_N": "kaplan2020-n", "kaplan2020_D": "kaplan2020-d", "kaplan2020_ND": "kaplan2020-nd",
        "kaplan2020_NS": "kaplan2020-ns", "kaplan2020_Bcrit": "kaplan2020-critical-batch", "krajewski2024_moe": "krajewski2024",
        "ludziejewski2025": "ludziejewski2025", "abnar2025": "abnar2025", "gao2024_sae": "gao2024-sae",
    }  # fmt: skip
    for fact, key in pairs.items():
        coefs = published(key).coefs
        printed = {k: v for k, v in facts[fact]["coef"].items() if k in coefs}
        assert len(printed) == len(coefs), key
        assert coefs == pytest.approx({**coefs, **printed}, rel=1e-6), key  # 1e-6: printed digits against exp of a log
    tables = {
        "frantar2023": ("vit", "t5"),
        "sardana2023": ("100", "250", "500", "all"),
        "gadre2024": ("c4", "redpajama", "refinedweb"),
    }
    rows = {
        "frantar2023": facts["frantar2023"]["coef"], "sardana2023": facts["sardana2023_refits"]["coef"], "gadre2024": facts["gadre2024"]["coef"],
    }  # fmt: skip
    for paper, names in tables.items():
        for name, row in zip(names, list(rows[paper].values())[: len(names)], strict=True):
            assert published(f"{paper}-{name}").coefs == pytest.approx(row), (paper, name)
    for modality, row in facts["rosenfeld2020"]["coef"].items():
        assert published(f"rosenfeld2020-{modality}").coefs == pytest.approx(row)
    for letter, amplitude in (("N", "A"), ("C", "K")):
        for modality, row in facts[f"henighan2020_{letter}"]["coef"].items():
            name = modality.replace("_combined", "").replace("_", "-")
            entry, at_one = published(f"henighan2020-{letter.lower()}-{name}"), row[amplitude] + row["L_inf"]
            assert entry.predict({entry.law.inputs[0]: [1.0]})[0] == pytest.approx(at_one)
            assert entry.coefs["alpha"] == row["alpha"]


# --- what the papers' own numbers say ----------------------------------------------------------------------------------


def chinchilla_optimum(entry, flops):
    """The closed form of Hoffmann et al. eq. 4 at C = 6 N D."""
    _E, A, B, alpha, beta = entry.theta
    n = (alpha * A / (beta * B)) ** (1 / (alpha + beta)) * (flops / 6) ** (beta / (alpha + beta))
    return n, flops / (6 * n)


def test_the_two_chinchilla_fits_give_the_golden_optima(golden):
    for key, case in zip(("hoffmann2022-3-printed", "besiroglu2024"), golden["closed_form"], strict=True):
        n, d = chinchilla_optimum(published(key), np.array(case["flops"]))
        # the golden case of Besiroglu uses printed digits, the set here the unrounded ones of the notebook: 4e-4 apart
        rel = 1e-5 if "printed" in key else 2e-3
        np.testing.assert_allclose(n, case["n_opt"], rtol=rel)
        np.testing.assert_allclose(d, case["d_opt"], rtol=rel)
        loss = published(key).predict({"n_params": n, "n_tokens": d})
        np.testing.assert_allclose(loss, case["loss_opt"], rtol=rel)


def test_besiroglu_s_set_is_a_better_fit_of_the_points_than_hoffmann_s(golden, reference):
    """Sum of Huber(1e-3) of log residuals over the 240 points, as computed independently."""
    runs = pd.read_csv(reference("chinchilla-epoch") / "runs.csv")
    runs = runs[~runs["excluded_in_paper"].astype(bool)]
    x = {"n_params": runs["params"].to_numpy(), "n_tokens": runs["tokens"].to_numpy()}

    def objective(key: str) -> float:
        r = np.abs(np.log(published(key).predict(x)) - np.log(runs["loss"].to_numpy()))
        return float(np.where(r <= 1e-3, 0.5 * r**2, 1e-3 * (r - 5e-4)).sum())

    (case,) = golden["chinchilla_points"]
    assert objective("besiroglu2024-huber") == pytest.approx(case["minimum"], rel=1e-6)
    assert objective("besiroglu2024") == pytest.approx(case["at_published_besiroglu"], rel=1e-4)
    assert objective("hoffmann2022-3") == pytest.approx(case["at_hoffmann_unrounded"], rel=1e-5)
    assert objective("hoffmann2022-3-printed") == pytest.approx(case["at_hoffmann_rounded"], rel=1e-5)


def test_besiroglu_s_size_exponent_is_the_printed_one():
    coefs = published("besiroglu2024").coefs
    a = coefs["beta"] / (coefs["alpha"] + coefs["beta"])
    assert a == pytest.approx(0.513, abs=5e-4)  # arXiv:2404.10102, abstract
    n, d = chinchilla_optimum(published("besiroglu2024"), 5.76e23)
    assert 15 < d / n < 25  # "about 20 tokens per parameter"


def test_repeated_data_give_the_golden_losses(golden):
    (case,) = golden["data_constrained"]
    loss = published("muennighoff2023").predict(
        {"n_params": case["n"], "n_tokens": case["d"], "n_unique_tokens": case["unique"]}
    )
    np.testing.assert_allclose(loss, case["loss"], rtol=1e-6)  # the golden case takes the printed, rounded amplitudes


def test_the_broken_power_law_passes_through_the_golden_points(golden):
    (case,) = golden["bnsl"]
    np.testing.assert_allclose(
        published("caballero2022-addition").predict({"n_samples": case["x"]}), case["y"], rtol=1e-7
    )


def test_experts_give_the_golden_losses(golden):
    (case,) = golden["routed"]
    experts = np.array(case["experts"], dtype=float)
    loss = published("clark2022-s-base").predict({"n_params": np.full(4, 1.3e9), "n_experts": experts})
    np.testing.assert_allclose(loss, case["loss"], rtol=1e-7)
    (case,) = golden["ludziejewski"]
    x = {"n_params": np.full(4, 1e9), "n_tokens": np.full(4, 1e11), "n_experts": np.array(case["experts"], dtype=float)}
    np.testing.assert_allclose(published("ludziejewski2025").predict(x), case["loss"], rtol=1e-7)
    (case,) = golden["krajewski"]
    x = {
        "n_params": np.full(2, 1e9),
        "n_tokens": np.full(2, 1e11),
        "granularity": np.array(case["granularity"], dtype=float),
    }
    np.testing.assert_allclose(published("krajewski2024").predict(x), case["loss"], rtol=1e-7)
    np.testing.assert_allclose(published("krajewski2024-dense").predict(x), case["dense"], rtol=1e-7)
    (case,) = golden["abnar"]
    loss = published("abnar2025").predict({"n_params": case["n"], "n_tokens": case["d"], "sparsity": case["sparsity"]})
    np.testing.assert_allclose(loss, case["loss"], rtol=1e-7)


def test_ludziejewski_s_law_of_one_expert_is_the_dense_law_of_their_table_4():
    """arXiv:2502.05172, table 4: E = 1 gives 30.364 N^-0.1817 + 53.98 D^-0.1965 + 1.3637."""
    x = {"n_params": np.array([1e8, 1e9, 1e10]), "n_tokens": np.array([1e10, 1e11, 1e12]), "n_experts": np.ones(3)}
    dense = 30.364 * x["n_params"] ** -0.1817 + 53.98 * x["n_tokens"] ** -0.1965 + 1.3637
    np.testing.assert_allclose(
        published("ludziejewski2025").predict(x), dense, rtol=1e-3
    )  # their exponents have 4 digits


def test_clark_s_cutoff_is_the_printed_one():
    """arXiv:2202.01169, table 3: routing by S-BASE stops helping at 937e9 parameters; c has one digit, hence the width."""
    entry = published("clark2022-s-base")
    assert 3e11 < entry.law.derived["n_cutoff"](entry.theta) < 3e12


def test_precision_gives_the_golden_losses(golden):
    (case,) = golden["precision"]
    n, d = np.full(2, 1.7e9), np.full(2, 2.6e10)
    bits = np.array(case["bits_w"], dtype=float)
    full = np.full(2, 1e3)  # so many bits keep every parameter
    x = {"n_params": n, "n_tokens": d, "bits_weights": bits, "bits_activations": full, "bits_kv_cache": full}
    np.testing.assert_allclose(published("kumar2024").predict(x), case["loss"], rtol=1e-3)
    post = published("kumar2024-post")
    three, none = (post.predict({"n_params": n, "n_tokens": d, "bits_post": b})[0] for b in (np.full(2, 3.0), full))
    assert three - none == pytest.approx(case["ptq_3bit"], rel=1e-3)


def test_sparse_autoencoders_farseer_and_distillation_give_the_golden_losses(golden):
    (case,) = golden["sae"]
    loss = published("gao2024-sae").predict({"n_latents": case["n"], "n_active_latents": case["k"]})
    np.testing.assert_allclose(loss, case["loss"], rtol=1e-7)
    (case,) = golden["farseer"]
    np.testing.assert_allclose(
        published("farseer2025").predict({"n_params": case["n"], "n_tokens": case["d"]}), case["loss"], rtol=1e-6
    )
    (case,) = golden["distillation"]
    n, d = np.full(3, 1e9), np.full(3, 2e10)
    supervised = published("busbridge2025-supervised").predict({"n_params": n, "n_tokens": d})
    np.testing.assert_allclose(supervised, case["supervised"], rtol=1e-7)
    x = {"n_params": n, "n_tokens": d, "teacher_loss": case["teacher_loss"], "supervised_loss": supervised}
    np.testing.assert_allclose(published("busbridge2025-student").predict(x), case["student"], rtol=1e-7)


def test_settings_give_the_golden_rates_and_batches(golden):
    (case,) = golden["hparams"]
    step = case["step_law"]
    x = {"n_params": [step["n"]], "n_tokens": [step["d"]]}
    assert published("li2025-lr").predict(x)[0] == pytest.approx(step["lr"], rel=1e-3)
    assert published("li2025-batch").predict(x)[0] == pytest.approx(step["batch_tokens"], rel=1e-3)
    deep = case["deepseek"]
    for name, column in (("lr", "lr"), ("batch", "batch_tokens"), ("optimal-n", "m"), ("optimal-d", "d")):
        assert published(f"deepseek2024-{name}").predict({"flops": [deep["c"]]})[0] == pytest.approx(
            deep[column], rel=1e-3
        )


def test_deepseek_s_size_and_data_multiply_to_the_budget():
    c = np.geomspace(1e17, 3e20, 5)
    product = published("deepseek2024-optimal-n").predict({"flops": c}) * published("deepseek2024-optimal-d").predict(
        {"flops": c}
    )
    np.testing.assert_allclose(product / c, 1, rtol=2e-4)  # k_M k_D = 1.0001 as printed


def test_llama_3_s_unrounded_line_gives_the_printed_16_55_trillion_tokens():
    """arXiv:2407.21783, sec. 3.2.1: 3.8e25 FLOPs ask for 402B parameters on 16.55T tokens."""
    tokens = published("llama3-2024-optimal-d").predict({"flops": [3.8e25]})[0]
    assert tokens == pytest.approx(16.55e12, rel=0.02)  # the fit is printed with three digits of the exponent
    assert 3.8e25 / 6 / tokens == pytest.approx(402e9, rel=0.06)


def test_kaplan_s_laws_give_the_golden_losses(golden):
    (case,) = golden["kaplan"]
    n, d, s, loss = [1e9], [1e10], [1e5], [3.0]
    assert published("kaplan2020-n").predict({"n_params": n})[0] == pytest.approx(case["L_N_1e9"], rel=1e-7)
    assert published("kaplan2020-d").predict({"n_tokens": d})[0] == pytest.approx(case["L_D_1e10"], rel=1e-7)
    assert published("kaplan2020-nd").predict({"n_params": n, "n_tokens": d})[0] == pytest.approx(
        case["L_ND_1e9_1e10"], rel=1e-7
    )
    assert published("kaplan2020-ns").predict({"n_params": n, "step": s})[0] == pytest.approx(
        case["L_NS_1e9_1e5"], rel=1e-7
    )
    assert published("kaplan2020-critical-batch").predict({"loss": loss})[0] == pytest.approx(
        case["B_crit_3p0"], rel=1e-7
    )


def test_kaplan_s_optimum_is_the_printed_one_at_one_petaflop_day():
    """arXiv:2001.08361, App. A, table 6: 1.3e9 parameters and 2e10 tokens, with exponents 0.73 and 0.27."""
    day = {"flops": [1e15 * 86400.0]}
    n, d = (published(f"kaplan2020-optimal-{letter}").predict(day)[0] for letter in "nd")
    assert (n, d) == (pytest.approx(1.3e9), pytest.approx(2e10))
    thousand = {"flops": [1e3 * 1e15 * 86400.0]}
    assert published("kaplan2020-optimal-n").predict(thousand)[0] == pytest.approx(1.3e9 * 1e3**0.73)


def test_critical_batches_are_in_tokens():
    """Zhang et al., sec. 3.2: 93.20 N^0.47 with N in millions, in sequences of 512 tokens."""
    batch = published("zhang2024-cbs").predict({"n_params": [1e9]})[0]
    assert batch == pytest.approx(93.20 * 1000**0.47 * 512)


def test_annealing_predicts_a_schedule_that_it_was_not_fitted_to(reference):
    """Luo et al. 2025, cosine over 72000 steps after 2160 of warm-up, three times as long as any curve behind the fit."""
    from scaling.laws.annealing import annealing_features

    runs = pd.read_csv(reference("lr-schedule-curves") / "runs.csv")
    steps = np.arange(72000 - 2160 + 1)
    decay = 3e-5 + (3e-4 - 3e-5) / 2 * (1 + np.cos(np.pi * steps / steps[-1]))
    total, annealed = annealing_features(np.concatenate((np.linspace(0, 3e-4, 2160), decay)), warmup=2160)
    for size, printed in (("25M", 2.7e-3), ("100M", 3.5e-3)):
        curve = runs[(runs["group"] == size) & (runs["schedule"] == "cosine_72000")]
        at = np.minimum(curve["step"].to_numpy(dtype=int), len(total) - 1)
        loss = published(f"tissue2024-{size.lower()}").predict({"lr_sum": total[at], "lr_annealed": annealed[at]})
        assert np.mean(np.abs(loss / curve["loss"].to_numpy() - 1)) == pytest.approx(printed, rel=0.25)
