"""Cards: the arguments of sbatch, rejected cards and changes, changes for one run."""

import json
import subprocess
import sys

import pytest
import yaml

from lambda_hat_assets.cards.card import Card, LocalTag, Tags
from lambda_hat_assets.cards.file import changed, load_card
from lambda_hat_assets.cards.slurm import Cluster, SlurmTag
from lambda_hat_core.config.errors import ConfigError
from tests.assets.conftest import ROOT

SHIPPED = sorted(path.stem for path in (ROOT / "config" / "card").glob("*.yaml"))
JOB = SlurmTag(executor="slurm", walltime="01:00:00", cpus=2)
CARD = Card(cluster=Cluster(), tags=Tags(float32=JOB, float64=JOB))


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_cards_are_valid_and_route_each_dtype(name):
    card = load_card(name, ROOT / "config")
    lines = card.routing()
    where = [line.partition(" -> ")[0] for line in lines]
    assert where == ["float64", "float32", "cluster"][: 3 if card.slurm else 2]
    assert not card.warnings()
    assert changed(card, []) == card


def leaves(content, path=()):
    """Yield key and value of every setting of a card."""
    for key, value in content.items():
        if isinstance(value, dict):
            yield from leaves(value, (*path, key))
        else:
            yield ".".join((*path, key)), value


@pytest.mark.parametrize("name", SHIPPED)
def test_defaults_may_be_written_in_a_card(name, tmp_path):
    card = load_card(name, ROOT / "config")
    whole = card.model_dump(mode="json")
    file = tmp_path / "whole.yaml"
    file.write_text(yaml.safe_dump(whole))
    assert load_card(str(file), tmp_path) == card
    (tmp_path / "null.yaml").write_text("cluster: null\ntags: {float32: null}")
    assert load_card(str(tmp_path / "null.yaml"), tmp_path) == Card()
    words = [
        f"{key.removeprefix('tags.')}={json.dumps(value)}"
        for key, value in leaves(whole)
        if "." in key
    ]
    assert changed(card, words) == card
    for word in words:
        assert changed(card, [word]) == card, word


def test_every_setting_of_a_card_reaches_sbatch():
    tag = SlurmTag(
        executor="slurm",
        partition="gpu",
        walltime="1-02:03:04",
        cpus=8,
        memory="32G",
        gpus=2,
        gpu_type="a100",
        account="abc",
        qos="long",
        constraint="nvlink",
        options=("--exclude=n1", "--exclusive"),
    )
    assert set(tag.sbatch()) == {
        "--partition=gpu",
        "--time=1-02:03:04",
        "--nodes=1",
        "--ntasks=1",
        "--cpus-per-task=8",
        "--mem=32G",
        "--gres=gpu:a100:2",
        "--account=abc",
        "--qos=long",
        "--constraint=nvlink",
        "--no-requeue",
        "--exclude=n1",
        "--exclusive",
    }
    kept = {"executor", "max_concurrent", "batch", "python", "setup", "threads", "env"}
    asked = set(SlurmTag.model_fields) - kept
    assert len(tag.sbatch()) == len(asked - {"gpu_type"}) + 4, "a new key must reach sbatch too"


@pytest.mark.parametrize(
    ("walltime", "seconds"),
    [("30", 1800), ("5:30", 330), ("02:00:01", 7201), ("2-3", 183600), ("1-00:10", 87000)],
)
def test_walltimes_are_read_as_sbatch_reads_them(walltime, seconds):
    assert JOB.model_copy(update={"walltime": walltime}).seconds == seconds


def test_a_job_has_its_dtype_and_does_not_fall_back_to_the_cpu():
    on_gpu = JOB.model_copy(update={"gpus": 1, "env": {"A": "b", "JAX_ENABLE_X64": "1"}})
    found = on_gpu.environment("float32")
    assert found == {"JAX_PLATFORMS": "cuda", "JAX_ENABLE_X64": "0", "A": "b"}
    on_cpu = JOB.environment("float64")
    assert on_cpu["JAX_ENABLE_X64"] == "1"
    assert "device_count=2" in on_cpu["XLA_FLAGS"]
    assert on_cpu["NPROC"] == "2"


def test_a_single_entry_applies_to_both_dtypes_with_a_warning():
    card = Card(cluster=Cluster(), tags=Tags(float64=JOB))
    assert card.tag("float32") == JOB
    assert card.slots == card.at_once("float32") == 4, "they share its limit"
    (line,) = card.warnings()
    assert line == "the card has only the entry float64, which applies to float32 too"


def test_a_mixed_card_counts_processes_here_and_jobs_there():
    card = Card(max_concurrent=1, cluster=Cluster(), tags=Tags(float32=LocalTag(), float64=JOB))
    assert (card.at_once("float32"), card.at_once("float64"), card.slots) == (1, 4, 5)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            "waltime=1",
            'waltime is "1": no part of this card has such a key; did you mean walltime?',
        ),
        ("float16.cpus=1", 'float16.cpus is "1": no such part of this card; did you mean'),
        ("walltime=soon", 'tags.float32.walltime is "soon": must be text that matches'),
        ("cpus=0", "tags.float32.cpus is 0: must be > 0"),
        ("gpu_type=a100", "tags.float32: gpu_type is a100, but gpus is 0; set gpus"),
        ("threads=3", "tags.float32: threads is 3, but cpus is 2; raise cpus"),
        ("options=['-p x']", "tags.float32: options has '-p x'; write the long form"),
        ("options=['--mem=1G']", "tags.float32: options has '--mem=1G'; write memory instead"),
        (
            "options=['--array=1-3']",
            "tags.float32: options has '--array=1-3', with which a job",
        ),
        ("cluster.poll_interval=99", "cluster: poll_interval_max is 60, below poll_interval 99"),
        ("walltime", '"walltime": not of the form key=value'),
        (
            "env.A-B=1",
            "tags.float32: env has 'A-B', which cannot be the name of a variable; use only",
        ),
        ("float64.env.1A=1", "tags.float64: env has '1A', which cannot be the name of a variable"),
        ("cluster.ssh.host=-oProxyCommand=x", "cluster.ssh: host is '-oProxyCommand=x', which ssh"),
        (
            "cluster.ssh.user='a b'",
            "cluster.ssh: user is 'a b', which ssh would not read as a name",
        ),
        ("cluster.ssh.jump.host=-J", "cluster.ssh.jump: host is '-J', which ssh would not read"),
    ],
)
def test_an_invalid_change_is_one_line_with_the_correction(words, line):
    with pytest.raises(ConfigError) as error:
        changed(CARD, [words])
    assert line in error.value.lines[0]


def test_a_change_applies_to_every_tag_or_to_one():
    card = changed(CARD, ["walltime=1:00", "float64.memory=8G", "float32.env.A=1"])
    assert [card.tag(dtype).walltime for dtype in ("float32", "float64")] == ["1:00", "1:00"]
    assert [card.tag(dtype).memory for dtype in ("float32", "float64")] == [None, "8G"]
    assert [card.tag(dtype).env for dtype in ("float32", "float64")] == [{"A": "1"}, {}]


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ({"tags": {"float64": {"executor": "slurm"}}}, "tags.float64.walltime: missing; write it"),
        (
            {"tags": {"float64": {"executor": "slurm", "walltime": "1"}}},
            "tags say slurm, but there is no cluster",
        ),
        ({"cluster": {"ssh": {"host": "h", "password": "p"}}}, "cluster.ssh.password is"),
        ({"cluster": {"shh": {}}}, "cluster.shh is {}: no such key; did you mean ssh?"),
        (
            {"mem_per_node": 16},
            "mem_per_node is 16: no such key; write memory, such as 16G, in tags",
        ),
        (
            {"worker_init": "module load cuda"},
            "no such key; write setup, a list of shell lines, in tags",
        ),
        ({"walltime": "01:00:00"}, "no such key; write it in tags: {float32: {...}, float64: "),
        ({"max_blocks": 4}, "max_blocks is 4: no such key; write max_concurrent"),
        (
            {"targets": [{"model": "small"}], "samplers": [{"name": "nuts"}]},
            "no such key; this is a key of an experiment, which goes to config/experiment/: choose",
        ),
        (
            {"problems": [], "methods": ["sgld"]},
            "no such key; this is a key of a tuning file, which goes to config/tune/: choose",
        ),
        (
            {"tags": {"float64": {"env": {"A=B": "1"}}}},
            "card.yaml: tags.float64: env has 'A=B', which cannot be the name of a variable",
        ),
        (
            {"tags": {"float32": {"env": {"A": "x\0y"}}}},
            "tags.float32: env has 'x\\x00y', but a command cannot contain NUL; remove it",
        ),
        *(
            (
                {
                    "cluster": {},
                    "tags": {"float64": {"executor": "slurm", "walltime": "1", key: value}},
                },
                f"tags.float64: {key} has 'a\\x00', but a command cannot contain NUL; remove it",
            )
            for key, value in {
                "python": "a\0",
                "setup": ["a\0"],
                "partition": "a\0",
                "env": {"A": "a\0"},
            }.items()
        ),
        ({"tags": {"float64": {"command": ["a\0"]}}}, "tags.float64: command has 'a\\x00', but a"),
        ({"cluster": {"home": "/a\0"}}, "cluster: home has '/a\\x00', but a command cannot"),
        ({"cluster": {"ssh": {"key": "a\0"}}}, "cluster.ssh: key has 'a\\x00', but a command"),
        ({"cluster": {"ssh": {"host": "a\tb"}}}, "cluster.ssh: host is 'a\\tb', which ssh would"),
        ({"cluster": {"ssh": {"user": "-l"}}}, "cluster.ssh: user is '-l', which ssh would not"),
        (
            {"cluster": {"ssh": {"jump": {"user": "a\0"}}}},
            "cluster.ssh.jump: user is 'a\\x00', which ssh would not read",
        ),
    ],
)
def test_an_invalid_card_is_one_line_per_mistake(tmp_path, content, line):
    file = tmp_path / "card.yaml"
    file.write_text(yaml.safe_dump(content))
    with pytest.raises(ConfigError) as error:
        load_card(str(file), tmp_path)
    assert line in error.value.lines[0]


def test_the_command_shows_the_card_with_its_changes(tmp_path):
    command = [sys.executable, "-m", "lambda_hat_assets.cli", "card", "show", "slurm-gpu-a100"]
    done = subprocess.run(
        [*command, "--set", "float32.walltime=04:00:00"], cwd=ROOT, capture_output=True, text=True
    )
    shown, _, routes = done.stdout.rpartition("\n\n")
    card = yaml.safe_load(shown)
    assert card["tags"]["float32"]["gpu_type"] == "a100"
    assert "float32 -> slurm" in routes and "--time=04:00:00" in routes
    wrong = subprocess.run([*command, "--set", "gpus=x"], cwd=ROOT, capture_output=True, text=True)
    assert wrong.returncode == 2
    assert wrong.stderr.startswith("lambda-hat: --set: tags.float32.gpus is ")
