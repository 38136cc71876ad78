"""A card as dagster-slurm's resource: connection, queue, folder, and the pauses between polls.

dagster-slurm's clients and sessions, which would also submit and follow jobs, are not used. A
client reports one materialization per job, where a job here makes many keys; it sets signal
handlers, which raises an error in the threads in which trials wait; it finds a job of an earlier
run by its asset, which may have been of another partition; it submits again if the answer to a
submission is lost; and it cancels a job that has been queued for too long. A session keeps one
allocation for a whole Dagster run.
"""

import getpass
from pathlib import Path

from dagster_slurm import SlurmResource, SSHConnectionResource
from pydantic import ValidationError

from lambda_hat_assets.cards.slurm import Cluster, SlurmTag, Ssh
from lambda_hat_core.config.errors import Place
from lambda_hat_core.store.store import Store


def slurm_resource(cluster: Cluster, tag: SlurmTag) -> SlurmResource:
    """Return the cluster for the jobs of one dtype.

    Raises:
        ConfigError: if the connection is impossible.
    """
    return SlurmResource(
        ssh=connection(cluster.ssh),
        queue=tag.queue(),
        remote_base=cluster.home,
        status_poll_interval_seconds=cluster.poll_interval,
        status_poll_max_interval_seconds=cluster.poll_interval_max,
    )


def connection(ssh: Ssh) -> SSHConnectionResource:
    """Return how a login node is reached.

    Raises:
        ConfigError: if a key file does not exist, or there is more than one jump host.
    """
    try:
        return SSHConnectionResource(
            host=ssh.host,
            port=ssh.port,
            user=ssh.user or getpass.getuser(),
            key_path=ssh.key,
            known_hosts_file=ssh.known_hosts,
            jump_host=ssh.jump and connection(ssh.jump),
        )
    except ValidationError as error:
        words = error.errors()[0]["msg"].removeprefix("Value error, ")
        way_out = "name a key file that exists, or none, and one jump host at most"
        raise Place("card", "cluster.ssh").error(words, way_out) from error


def home(slurm: SlurmResource, store: Store) -> Path:
    """Return the store's folder as the cluster sees it."""
    return Path(slurm.remote_base or store.root)
