"""Random text, damage and lines, from fixed seeds: one line or one event each, nothing stale."""

import json
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lambda_hat_core.config.errors import ConfigError, Place
from lambda_hat_core.plan.overrides import split
from lambda_hat_core.plan.plan import load_plan
from lambda_hat_core.store import experiments, failures, records, sql
from lambda_hat_core.store.damaged import damaged, records_of
from lambda_hat_core.store.store import Store
from lambda_hat_core.work.client import event_of
from lambda_hat_core.work.worker import serve
from tests.assets.conftest import ROOT
from tests.core.sqlstore import spec, target_spec

EXPERIMENT = """experiment: e
targets:
  - model: {kind: deep_linear, widths: [2, 2, 2], rank: 2}
    data: {n_data: 100}
    training: {steps: 100, lr: 1.0e-2, polish: none}
  - {model: {kind: quadratic, d: 3}, seed: 2}
samplers:
  - {name: sgld, seed: 1, overrides: {n_draws: 200, n_burn: 50}}
  - {name: nuts, dtype: float32, posterior: {gamma: 2.0}}
posterior: {gamma: [1.0, 10.0]}
"""
VALUES = (
    "1:30 010 0x1F -1 1.5 .inf .nan 1e400 99999999999999999999 ~ yes '' [] {} [1] {a:1} {1:2} "
    "{null:2} 2024-01-01 !!binary= !!set{a} !!str5 !!float5 !!python/name:os &a[*a] *a <<:{a:1} "
    "${oc.env:HOME} \\0 é ? | > @ ` % , : - [[[[1]]]] [a,[b]] true null auto each_layer"
).split()
PIECES = (
    "{",
    "}",
    "[",
    "]",
    ":",
    "- ",
    "\n",
    "'",
    '"',
    "&a ",
    "*a",
    "!!",
    "${a}",
    "|",
    "? ",
    "<<: ",
)
FOREIGN = (
    "Traceback",
    "pydantic",
    "Undefined",
    "object at 0x",
    "omegaconf",
    "Errno",
    "Input should",
)


def mutated(rng: random.Random, text: str) -> str:
    """Return a text with a few characters changed, cut or added."""
    letters = list(text)
    for _ in range(rng.randint(1, 6)):
        at = rng.randrange(len(letters) or 1)
        match rng.randrange(3):
            case 0:
                others = (0, 9, 10, 0xE9, 0x2028, 0x202E)
                letters[at : at + 1] = chr(rng.choice([*range(32, 127), *others]))
            case 1:
                del letters[at : at + rng.randint(1, 12)]
            case _:
                letters.insert(at, rng.choice(PIECES))
    return "".join(letters)


def with_a_value(rng: random.Random) -> str:
    """Return an experiment in which one value is another."""
    content = EXPERIMENT.splitlines()
    at = rng.randrange(len(content))
    key, colon, rest = content[at].rpartition(": ")
    end = rest[len(rest.rstrip("}]")) :] if colon else ""
    content[at] = f"{key}{colon}{rng.choice(VALUES)}{end}"
    return "\n".join(content)


def checked(error: ConfigError) -> None:
    """Check that every line of an error is a sentence of this program."""
    for line in error.lines:
        assert not any(word in line for word in FOREIGN), line
        assert len(line) < 800 and line.isprintable(), line


@pytest.mark.parametrize("seed", range(3))
def test_any_text_is_a_plan_or_an_error_in_lines(seed, tmp_path):
    rng, file, wrong = random.Random(seed), tmp_path / "e.yaml", 0
    for _ in range(120):
        text = with_a_value(rng) if rng.random() < 0.5 else mutated(rng, EXPERIMENT)
        file.write_text(text)
        try:
            load_plan(file, ROOT / "config")
        except ConfigError as error:
            checked(error)
            wrong += 1
    assert 40 < wrong < 120


def test_any_bytes_are_no_plan_and_any_word_a_value_or_an_error(tmp_path):
    rng, file = random.Random(5), tmp_path / "e.yaml"
    for _ in range(150):
        content = rng.randbytes(rng.randint(1, 60))
        file.write_bytes(content)
        with pytest.raises(ConfigError) as caught:
            load_plan(file, ROOT / "config")
        checked(caught.value)
        word = f"a={mutated(rng, rng.choice(VALUES))}"
        try:
            split(word, Place("command line"))
        except ConfigError as error:
            checked(error)


def cut(rng: random.Random, path: Path) -> None:
    path.write_bytes(path.read_bytes()[: rng.randrange(path.stat().st_size)])


def flip(rng: random.Random, path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)


def noise(rng: random.Random, path: Path) -> None:
    path.write_bytes(rng.randbytes(rng.randint(0, 400)))


def folder(rng: random.Random, path: Path) -> None:
    path.unlink()
    path.mkdir()


def dangling(rng: random.Random, path: Path) -> None:
    path.unlink()
    path.symlink_to(rng.choice(["nowhere", path.name]))


def remove(rng: random.Random, path: Path) -> None:
    path.unlink()


DAMAGES: tuple[Callable[[random.Random, Path], None], ...] = (
    cut, flip, noise, folder, dangling, remove,
)  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Store:
    """A store with two targets, four runs, a failure, and an experiment."""
    store = Store(tmp_path_factory.mktemp("made"))
    for seed in (1, 2):
        target = target_spec(seed)
        with store.publish("targets", target.id, target) as place:
            (place / "meta.json").write_text(json.dumps({"label": f"target {seed}"}))
    for seed in range(4):
        run = spec(seed)
        with store.publish("analyses", run.id, run) as place:
            row = records.run_row(run) | {"verdict": "ok", "reasons": [], "llc": 1.0 + seed}
            records.write("llc", [row], place / "estimate.parquet")
            (place / "figures").mkdir()
            (place / "figures" / "a.png").write_bytes(bytes(range(256)))
    failures.write_failure(store, spec(9), "a reason")
    experiments.write_experiment(store, "e", [(spec(s).target, spec(s).id) for s in range(4)])
    experiments.write_asked(store, "e", "e")
    sql.refresh(store)
    return store


def copy_of(store: Store, root: Path) -> Store:
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(store.root, root)
    return Store(root)


def parts(store: Store) -> list[Path]:
    return sorted(path for path in store.root.rglob("*") if path.is_file())


def problems(store: Store) -> Iterator[str]:
    """Yield what is wrong with folders by the quick check and by the deep one, and with records."""
    for kind in ("targets", "analyses"):
        for id in store.list(kind):
            quick, deep = store.problem(kind, id), store.verify(kind, id)
            assert (quick is None) == (deep is None), (quick, deep)
            if deep is not None:
                yield deep
    yield from map(str, damaged(records_of(store)))


ROWS = "SELECT run_id, llc, verdict, experiment FROM llc"


def rows(store: Store) -> set[tuple] | None:
    """Return the rows of a store; None if they cannot be read, which is said in one line."""
    try:
        return set(sql.query(store, ROWS).rows)
    except ValueError as error:
        assert "\n" not in str(error) and "cannot be run" in str(error)
        return None


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_any_single_fault_is_seen_or_harmless(made, damage, tmp_path):
    rng, whole = random.Random(damage.__name__), rows(made)
    known = {row[:3] for row in whole or ()}
    for path in rng.sample(parts(made), 15):
        store = copy_of(made, tmp_path / "case")
        damage(rng, store.root / path.relative_to(made.root))
        seen, found = list(problems(store)), rows(store)
        assert seen or found == whole or damage in (remove, dangling), path
        assert (found is not None and {row[:3] for row in found} <= known) or seen, path
        sql.refresh(store)
        assert sql.is_fresh(store)


def test_any_subset_of_files_gives_the_rows_that_are_left(made, tmp_path):
    whole = {row[0]: row for row in rows(made) or ()}
    for seed in range(12):
        rng = random.Random(seed)
        store = copy_of(made, tmp_path / "case")
        for path in parts(store):
            if rng.random() < 0.3:
                path.unlink()
        sql.refresh(store)
        for row in rows(store) or pytest.fail("the rows cannot be read"):
            assert row[:3] == whole[row[0]][:3]
            assert row[3] in (whole[row[0]][3], None)


def lines(rng: random.Random) -> Iterator[str]:
    """Yield lines that are nearly requests or events."""
    request = json.dumps({"id": "x", "kind": "targets", "spec": target_spec(1).model_dump()})
    event = json.dumps(
        {"id": "x", "event": "failed", "reason": "a", "cause": "e", "transient": True}
    )
    for whole in (request, event):
        yield from (mutated(rng, whole) for _ in range(60))
        yield from (whole[: rng.randrange(len(whole))] for _ in range(20))
    for value in (None, 5, "a", [], {}, [["id", 1]], {"event": 3}, {"event": "log"}, {"kind": []}):
        yield json.dumps(value)
    yield "[" * 100_000
    yield '{"event": "failed", "reason": 1}'


def test_any_line_is_answered_by_one_event(tmp_path):
    store = Store(tmp_path)
    for line in lines(random.Random(7)):
        events: list[dict] = []
        try:
            whole = json.loads(line)["spec"] == json.loads(json.dumps(target_spec(1).model_dump()))
        except (ValueError, RecursionError, KeyError, TypeError):
            whole = False
        if whole:
            continue
        assert not serve(store, line, events.append), line
        (end,) = events
        assert end["event"] == "failed" and "\n" not in end["reason"], line


def test_any_line_of_a_worker_is_an_event_or_a_line_of_a_log():
    for line in lines(random.Random(8)):
        event = event_of(line)
        if event is not None:
            assert event["event"] in ("failed", "log", "done", "progress", "ready", "begun", "end")
            assert event["event"] != "failed" or isinstance(event["reason"], str)
