"""The executors: which processes execute the steps of a job."""

import dagster as dg

from lambda_hat_assets.cards.card import DTYPES, Card
from lambda_hat_assets.running.endings import Cancel, ending
from lambda_hat_assets.running.pools import DTYPE_TAG

PRELOAD = "lambda_hat_assets._preload"


def in_one_process(cancel: Cancel) -> dg.ExecutorDefinition:
    """Return the executor of runs from the UI, whose steps all run in the process of the run."""
    return ending(dg.in_process_executor, cancel)


def in_processes(card: Card, cancel: Cancel) -> dg.ExecutorDefinition:
    """Return an executor that forks each step from a process with all imports done.

    The card limits how many steps run at once, in total and per dtype.
    """
    limits = [{"key": DTYPE_TAG, "value": dtype, "limit": card.at_once(dtype)} for dtype in DTYPES]
    return ending(dg.multiprocess_executor, cancel).configured(
        {
            "max_concurrent": card.slots,
            "start_method": {"forkserver": {"preload_modules": [PRELOAD]}},
            "tag_concurrency_limits": limits,
        }
    )
