"""sbatch, squeue, sacct, scancel and ssh without SLURM, ssh and root.

A folder with links to this file and to ssh.sh is put first on PATH. Jobs run immediately as
processes on this machine, without scheduling, and their state is JSON in $STAND_IN. Since this file
is started hundreds of times, it imports as little as possible.

In $STAND_IN the file `end-N` ends job N with the state that it contains, `refuse` makes sbatch fail
once with the message that it contains, and `no-sacct` turns accounting off.
"""

import json
import os
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
PYTHON = f"{sys.executable} -S -E {__file__}"
COMMANDS = {name: f"{PYTHON} {name}" for name in ("sbatch", "squeue", "sacct", "scancel")}
COMMANDS["ssh"] = f"bash {HERE / 'ssh'}.sh"
STATE = Path(os.environ.get("STAND_IN", "/nowhere"))
ALIVE = ("PENDING", "RUNNING")
POLL = 0.05


def install(folder: Path) -> None:
    """Create the links."""
    folder.mkdir(parents=True)
    for name, command in COMMANDS.items():
        link = folder / name
        link.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
        link.chmod(0o755)


def load(job: str) -> dict:
    path = STATE / f"{job}.json"
    return json.loads(path.read_text()) if path.exists() else {}


def save(record: dict) -> None:
    path = STATE / f"{record['id']}.json"
    path.with_suffix(f".{os.getpid()}").write_text(json.dumps(record))
    path.with_suffix(f".{os.getpid()}").rename(path)


def jobs() -> list[dict]:
    return [json.loads(path.read_text()) for path in STATE.glob("*.json")]


def sbatch(words: list[str]) -> int:
    import subprocess

    refusal = STATE / "refuse"
    if refusal.exists():
        print(f"sbatch: error: {refusal.read_text()}", file=sys.stderr)
        refusal.unlink()
        return 1
    *options, script = (word for word in words if word != "--parsable")
    given = dict(word.removeprefix("--").partition("=")[::2] for word in options)
    number = 1
    while not _claimed(number):
        number += 1
    save({"id": number, "name": given["job-name"], "state": "PENDING", "code": "0:0", **_at(given)})
    record = {**load(str(number)), "options": options, "script": script}
    save(record)
    subprocess.Popen(
        [sys.executable, __file__, "_serve", str(number)],
        start_new_session=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    print(number)
    return 0


def _at(given: dict) -> dict:
    return {name: given[name] for name in ("chdir", "output", "error", "time")} | {
        "partition": given.get("partition", "")
    }


def _claimed(number: int) -> bool:
    try:
        os.close(os.open(STATE / f"{number}.id", os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True


def _serve(words: list[str]) -> int:
    """Run a job to its end, as slurmd does."""
    import contextlib
    import signal
    import subprocess

    (number,) = words
    record = load(number)
    env = os.environ | {"SLURM_JOB_ID": number, "SLURM_JOB_PARTITION": record["partition"]}
    folder = Path(record["chdir"])
    names = (record[name].replace("%%", "\0").replace("%j", number) for name in ("output", "error"))
    paths = [folder / name.replace("\0", "%") for name in names]
    with open(paths[0], "w") as out, open(paths[1], "w") as err:
        process = subprocess.Popen(
            ["bash", record["script"]],
            cwd=record["chdir"],
            env=env,
            stdout=out,
            stderr=err,
            start_new_session=True,
        )
    record |= {"state": "RUNNING", "pid": process.pid}
    save(record)
    hours, minutes, seconds = map(int, record["time"].split(":"))
    deadline = time.monotonic() + hours * 3600 + minutes * 60 + seconds
    order = STATE / f"end-{number}"
    state = ""
    while process.poll() is None and not state:
        state = order.read_text() if order.exists() else ""
        state = state or ("TIMEOUT" if time.monotonic() > deadline else "")
        time.sleep(POLL)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    code = process.wait()
    record["code"] = f"{max(code, 0)}:{max(-code, 0)}"
    record["state"] = state or ("FAILED" if code else "COMPLETED")
    save(record)
    return 0


def squeue(words: list[str]) -> int:
    form, asked = _after(words, "-o"), _after(words, "-j")
    for record in jobs():
        if record["state"] in ALIVE and asked in ("", str(record["id"])):
            line = form.replace("%T", record["state"]).replace("%i", str(record["id"]))
            sys.stdout.buffer.write(line.replace("%j", record["name"]).encode() + b"\n")
    if not asked:
        # Other jobs of the same user.
        for name in (b"", b" ", b"a b|c", b"r\xe9sum\xe9", b"lambda_hat-x"):
            sys.stdout.buffer.write(b"1234_[5-6]|PENDING|" + name + b"\n77||" + name + b"\n")
    return 0


def sacct(words: list[str]) -> int:
    if (STATE / "no-sacct").exists():
        print("Slurm accounting storage is disabled", file=sys.stderr)
        return 1
    job, name = _after(words, "-j"), "".join(w[7:] for w in words if w.startswith("--name="))
    last = {"JobIDRaw,State,ExitCode": "code", "JobIDRaw,State,JobName": "name"}
    for record in jobs():
        if str(record["id"]) == job or record["name"] == name:
            third = record[last.get(_after(words, "-o"), "id")]
            print(record["id"], record["state"], third, sep="|")
    return 0


def scancel(words: list[str]) -> int:
    for record in jobs():
        if str(record["id"]) in words or f"--name={record['name']}" in words:
            number = str(record["id"])
            (STATE / f"end-{number}").write_text("CANCELLED by 0")
            while load(number)["state"] in ALIVE:
                time.sleep(POLL)
    return 0


def _after(words: list[str], flag: str) -> str:
    return words[words.index(flag) + 1] if flag in words else ""


if __name__ == "__main__":
    name, *rest = sys.argv[1:]
    sys.exit(globals()[name](rest))
