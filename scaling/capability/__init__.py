"""From scale to loss to score: which score a budget buys, and which budget buys a score, with the doubt of both steps.

Step 1 is a loss law over (N, D), step 2 a link from loss to score. Each comes with draws of its coefficients (resamples,
or draws from a posterior); a draw of the chain is one of each, so that the error of the first step enters the second
through its slope and not as a number plugged in. A fit given with its runs is drawn from what these allow.
"""

from scaling.capability.chain import Path, score_along, score_at
from scaling.capability.link import Curve, Fitted, link_draws
from scaling.capability.result import Budget, Capability

__all__ = ["Budget", "Capability", "Curve", "Fitted", "Path", "link_draws", "score_along", "score_at"]
