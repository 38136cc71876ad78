"""What people who wait are told after every chunk of draws."""

from typing import NamedTuple


class Progress(NamedTuple):
    """What a progress callback receives at the end of every chunk.

    Attributes:
        done: draws per chain so far, burn-in included.
        total: draws per chain at the end of the run; a forecast where `rel_se` ends it, and the
            most that there may be where `waits_for` says so.
        draws_per_second: rate of all chains together.
        eta_seconds: estimated seconds until the end.
        llc: mean over the draws kept so far; during burn-in, over the last draw of every chain.
        llc_se: standard error of `llc`, from the means of the chains; nan for one chain.
        v_m: virial certificate over the same draws; nan if the loss has no curvature at w*.
        work_fge: full-gradient evaluations spent so far, set-up included.
        rel_se: standard error, as a share of the llc, at which the run ends; None: at its length.
        waits_for: what the run waits for where that precision is reached, such as "R-hat 1.34 to
            fall to 1.1".
    """

    done: int
    total: int
    draws_per_second: float
    eta_seconds: float
    llc: float
    llc_se: float
    v_m: float
    work_fge: float
    rel_se: float | None = None
    waits_for: str = ""

    @property
    def so_far(self) -> str:
        """How much of the run is done, in words."""
        if self.waits_for:
            return f"{self.done} of at most {self.total} draws"
        if self.rel_se is not None:
            return f"{self.done} of about {self.total} draws"
        return f"{self.done / self.total:.0%} of {self.total} draws"

    @property
    def waits(self) -> str:
        """What the run waits for, as the end of a line."""
        return f"; waits for {self.waits_for}" if self.waits_for else ""
