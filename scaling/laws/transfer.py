"""Transfer: fine-tuning data that pre-training is worth."""

from __future__ import annotations

from scaling.laws.power_law import product_law

TRANSFER = product_law(
    "transfer",
    "n_tokens_transferred",
    (("n_samples", "D_F", "alpha", 1, (0.02, 0.8)), ("n_params", "N", "beta", 1, (0.05, 0.9))),
    title="Hernandez et al., effective data transferred",
    amplitude=("k", "data transferred at D_F = N = 1 [unit of D_F]"),
    letters=("D_T(D_F, N)", r"D_T(D_F, N)"),
    domain="little fine-tuning data D_F (in n_samples); D_T by inverting the from-scratch loss at the fine-tuned one; "
    "N without embeddings",
    source="Hernandez et al. 2021, arXiv:2102.01293, eq. 1.1",
)
