"""Cancels the jobs of a Dagster run that a person has terminated, when its process ends."""

from collections.abc import Callable

from lambda_hat_assets.cards.card import Card
from lambda_hat_assets.slurm import queue
from lambda_hat_assets.slurm.batch import unfinished
from lambda_hat_assets.slurm.login import Login
from lambda_hat_assets.slurm.resource import connection
from lambda_hat_core.config.errors import ConfigError
from lambda_hat_core.store.store import Store

_SECONDS = 3.0
"""Time limit of the command, because the process is about to end."""


def cancel_jobs(store: Store, card: Card, run_id: str, say: Callable[[str], None]) -> None:
    """Cancel the jobs that a Dagster run waits for, in at most three seconds.

    Args:
        store: the store, which has the jobs' folders.
        card: the card, which says how the cluster is reached.
        run_id: the id of the outermost run, which is that of `llc` or one started in the UI.
        say: called with a message about which jobs were cancelled, or why that failed.
    """
    names = [batch.name for batch in unfinished(store) if run_id in batch.runs()]
    if card.cluster is None or not names:
        return
    try:
        queue.cancel(Login(connection(card.cluster.ssh)), names, _SECONDS)
        say(f"cancelled on the cluster: {', '.join(names)}")
    except (ConnectionError, ConfigError) as error:
        command = f"scancel --name={' --name='.join(names)}"
        say(f"{error}: the jobs continue; to cancel them, run on the cluster: {command}")
