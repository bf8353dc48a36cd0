"""Errors a user can act on: each is a ValueError whose text says what is wrong, where, and the way out."""


class ScalingError(ValueError):
    """Bad input or an impossible request; the command line prints it and exits with 2."""


class QuantityError(ScalingError):
    """A quantity such as '70B' or '$2.5M' that cannot be read one way only."""


class RunsError(ScalingError):
    """The logged runs cannot be read or used as asked."""


class LawError(ScalingError):
    """A law is unknown, ill-formed, or does not fit the question."""


class FitError(ScalingError):
    """The request for a fit makes no sense (rows that merely fail to converge are statuses, not errors)."""


class PlanError(ScalingError):
    """A budget or constraint that no plan can meet."""
