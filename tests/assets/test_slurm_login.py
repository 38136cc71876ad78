"""The ssh connection, and the interpretation of answers."""

from types import SimpleNamespace

import pytest

from lambda_hat_assets.cards.card import Card
from lambda_hat_assets.cards.slurm import Cluster, SlurmTag, Ssh
from lambda_hat_assets.slurm import queue
from lambda_hat_assets.slurm.batch import write
from lambda_hat_assets.slurm.cancel import cancel_jobs
from lambda_hat_assets.slurm.fitness import require
from lambda_hat_assets.slurm.login import Failed, Login
from lambda_hat_assets.slurm.resource import connection, slurm_resource
from lambda_hat_core.config.errors import ConfigError
from lambda_hat_core.store.store import Store


@pytest.fixture
def ssh(tmp_path, monkeypatch):
    """A function that installs a fake ssh, given as lines of a shell script."""
    monkeypatch.setenv("DAGSTER_SLURM_SSH_CONTROL_DIR", str(tmp_path / "control"))

    def write(script):
        (tmp_path / "ssh").write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "ssh").chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
        return Login(connection(Ssh(host="login1", user="me")))

    return write


def test_an_answer_may_contain_any_bytes(ssh):
    login = ssh(r"printf '7|RUNNING|\351t\351\n8|PENDING|\n'; printf '\377' >&2")
    assert login.ask("squeue") == "7|RUNNING|\ufffdt\ufffd\n8|PENDING|\n"
    with pytest.raises(Failed, match="\ufffd is wrong") as failed:
        ssh(r"printf '\n \351 is wrong\nsecond\n' >&2; exit 3").ask("x")
    assert (failed.value.code, failed.value.stderr) == (3, "\ufffd is wrong\nsecond")


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (
            "echo noise >&2; echo Connection refused >&2; exit 255",
            "me@login1:22: Connection refused",
        ),
        ("exit 255", "me@login1:22: ssh failed"),
        ("kill -9 $$", "me@login1:22: ssh failed"),
        ("exec sleep 60", r"me@login1:22: no answer in 0\.2 s"),
    ],
)
def test_an_ssh_that_fails_is_not_an_answer(ssh, script, words):
    with pytest.raises(ConnectionError, match=f"^{words}$") as error:
        ssh(script).ask("x", seconds=0.2 if "sleep" in script else 60)
    assert not isinstance(error.value, Failed)


def test_a_missing_ssh_and_a_missing_key_are_reported(ssh, tmp_path, monkeypatch):
    login = ssh("")
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    with pytest.raises(ConnectionError, match=r"ssh cannot be started: .*No such file"):
        login.ask("x")
    with pytest.raises(ConfigError, match=r"^card: cluster.ssh: SSH key not found at path: /no; "):
        connection(Ssh(key="/no"))


def test_a_permanent_failure_of_ssh_is_an_error_at_once(ssh, tmp_path):
    login = ssh("echo 'me@login1: Permission denied (publickey).' >&2; exit 255")
    watch = SimpleNamespace(insist=lambda ask: ask())
    slurm = slurm_resource(Cluster(), SlurmTag(executor="slurm", walltime="1"))
    way_out = "make `ssh` to it work without a password"
    with pytest.raises(ConfigError, match=rf"card: cluster\.ssh: .*Permission denied.*; {way_out}"):
        require(watch, login, slurm, [], Store(tmp_path))
    with pytest.raises(ConnectionError):
        require(watch, ssh("echo Connection refused >&2; exit 255"), slurm, [], Store(tmp_path))
    assert not list((tmp_path / "slurm").iterdir())


def test_jobs_that_cannot_be_cancelled_are_named(ssh, tmp_path):
    ssh("exit 255")
    batch = write(Store(tmp_path), [{"id": "a"}], [], "the-run")
    said = []
    card = Card(cluster=Cluster(ssh=Ssh(host="login1", user="me")))
    cancel_jobs(Store(tmp_path), card, "the-run", said.append)
    way_out = f"the jobs continue; to cancel them, run on the cluster: scancel --name={batch.name}"
    assert said == [f"me@login1:22: ssh failed: {way_out}"]


class Answers:
    """A login node that always gives the same answer."""

    def __init__(self, answer):
        self.answer, self.asked = answer, []

    def ask(self, command, seconds=60.0):
        self.asked.append(command)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


ROWS = """
7|COMPLETING|lambda_hat-0123456789ab
8|RUNNING|lambda_hat-0123456789ac|d
9_[1-2]|PENDING|lambda_hat-0123456789ad
10+1|PENDING|lambda_hat-0123456789ae
11||lambda_hat-0123456789af
12|PENDING|
 | |
\u0663|RUNNING|lambda_hat-0123456789ba
13|PENDING|lambda_hat-0123456789abc
14
welcome to login1 | 15
"""


def test_rows_of_other_jobs_are_ignored():
    assert queue.find(Answers(ROWS), "lambda_hat-0123456789ab") == 7
    assert queue.find(Answers(ROWS), "lambda_hat-ffffffffffff") is None
    assert queue.find(Answers(""), "lambda_hat-0123456789ab") is None


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        ("", None),
        ("\n8|FAILED|1:0\n", None),
        ("7||queued\n", None),
        ("7|PENDING|queued\n", ("PENDING", "")),
        ("7|COMPLETING|queued\n", ("COMPLETING", "")),
        ("7|COMPLETED|queued\n", None),
        ("7|RUNNING|0:0\n", None),
        ("7|REQUEUED|0:0\n", None),
        ("noise\n7|CANCELLED by 1000|0:15\n", ("CANCELLED", "0:15")),
        ("7|OUT_OF_MEMORY|0:125\n7|TIMEOUT|0:0", ("OUT_OF_MEMORY", "0:125")),
    ],
)
def test_a_job_has_ended_only_if_accounting_says_how(answer, state):
    found = queue.state(Answers(answer), 7)
    assert (found and found[:2]) == state


@pytest.mark.parametrize(
    ("answer", "number"),
    [
        ("7\n", 7),
        ("7;cluster\n", 7),
        ("Welcome\n12 jobs\n-> ok\n7\n", 7),
        ("", None),
        ("job 7", None),
    ],
)
def test_the_number_of_a_job_is_found_among_other_lines(answer, number):
    if number:
        assert queue.submit(Answers(answer), ["job.sh"]) == number
    else:
        with pytest.raises(ConnectionError, match="named no job"):
            queue.submit(Answers(answer), ["job.sh"])


@pytest.mark.parametrize(
    ("code", "words", "kind"),
    [
        (1, "sbatch: error: Batch job submission failed: Invalid account", queue.Refused),
        (1, "sbatch: error: QOSMaxWallDurationPerJobLimit", queue.Refused),
        (1, "sbatch: error: please contact support about your limits", queue.Refused),
        (1, "sbatch: error: AssocGrpSubmitJobsLimit", queue.Full),
        (1, "sbatch: error: QOSMaxSubmitJobPerUserLimit", queue.Full),
        (1, "sbatch: error: Unable to contact slurm controller (connect failure)", Failed),
        (1, "sbatch: error: Socket timed out on send/recv operation", Failed),
        (1, "sbatch: error: Unable to open file /home/me/job.sh", Failed),
        (1, "slurm_submit: Resource temporarily unavailable", Failed),
        (124, "", Failed),
        (127, "bash: sbatch: command not found", Failed),
    ],
)
def test_a_refusal_is_distinguished_from_a_passing_failure(code, words, kind):
    with pytest.raises(kind) as error:
        queue.submit(Answers(Failed(code, [words] if words else [])), ["job.sh"])
    assert type(error.value) is kind
    assert str(error.value) == (words or "exit code 124")


def test_cancelling_a_job_that_has_ended_is_not_a_failure():
    names = ["lambda_hat-0123456789ab", "lambda_hat-0123456789ac"]
    login = Answers(Failed(1, ["scancel: error: Kill job error: Invalid job id specified"]))
    assert queue.cancel(login, names)
    assert login.asked == ["; ".join(f"scancel --name={name}" for name in names)]
    with pytest.raises(Failed):
        queue.cancel(Answers(Failed(1, ["Unable to contact slurm controller"])), names)
