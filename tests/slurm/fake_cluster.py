"""A simulated SLURM cluster, which answers the commands that are sent to a login node.

Time is virtual and accidents are drawn from a seed. Commands or their answers are lost or late,
answers are empty or out of date for up to a minute, daemons are down for a while, and accounting
lags behind. Jobs are preempted, requeued, lost with their node, cut off and cancelled. Their
payloads make keys in a store and write the events of a real payload, which become visible late.
"""

import json
import random
import shlex
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

from lambda_hat_assets.slurm.login import Failed
from tests.slurm.fake_time import Windows

LIVING = ("PENDING", "RUNNING", "COMPLETING")
WALLTIME = 1800.0
KINDS = ("runs", "analyses")
DOWN = "slurm_load_jobs error: Unable to contact slurm controller (connect failure)"
FOREIGN = [
    "9_[1-3]|PENDING|a",
    "9+0|RUNNING|b c",
    "901||",
    "902|RUNNING| ",
    "903|RUNNING|r\ufffd|x",
]
FOREIGN += ["", "|", "lambda_hat-", "904|PENDING|lambda_hat-0", "9|RUNNING|other"]


class FakeCluster:
    """Stands for a `Login`.

    Args:
        seed: the seed of all accidents.
        clock: the clock.
        store: the store in which payloads make artifacts.
        habits: what happens at each key; keys that are not listed are made.
        calm: whether there are no accidents.
    """

    def __init__(self, seed, clock, store, habits, *, calm=False):
        self.rng = rng = random.Random(seed)
        self.clock, self.store, self.habits = clock, store, habits
        self.jobs, self.wrong, self.tries = {}, [], Counter()
        self.accidents = []
        self.cancelled_keys = set()
        self.is_reachable = True
        now, level = clock.now, 0.0 if calm else rng.choice([0.0, 0.05, 0.2])
        self.loss = level
        often = {} if calm else {name: rng.choice([0, 200, 1500]) for name in "abcdef"}
        self.down = Windows(rng, now, often.get("a"), 300, gap=300.0)
        self.mute = Windows(rng, now, often.get("b"), 300, gap=300.0)
        self.empty = {tool: Windows(rng, now, often.get("c"), 60) for tool in ("squeue", "sacct")}
        self.stale = Windows(rng, now + 65, often.get("d"), 60)
        self.full = Windows(rng, now - 200, often.get("e"), 1000, gap=0)
        self.lag = 0.0 if calm else rng.choice([0.0, 20.0, 300.0])
        self.nfs = 0.0 if calm else rng.choice([0.0, 3.0, 20.0])
        self._past = {}

    def ask(self, command, seconds=60.0):
        """Return the output of a command, or lose it."""
        rng, clock = self.rng, self.clock
        clock.sleep(rng.uniform(0.1, 2.0))
        fate = rng.random() / self.loss if self.loss else 9.0
        if fate < 0.3 or not self.is_reachable:
            clock.sleep(rng.choice([0.0, seconds]))
            raise ConnectionError("ssh: connect to host login1: Connection timed out")
        if fate < 0.5:
            clock.at(clock.now + rng.uniform(0, 40), lambda: self._late(command))
            raise ConnectionError("ssh: Connection reset by peer")
        answer = self._run(command)
        clock.sleep(rng.uniform(0.1, 2.0))
        if fate < 1.0:
            clock.sleep(rng.choice([0.0, seconds]))
            raise ConnectionError("ssh: Connection closed by remote host")
        return answer

    def _late(self, command):
        try:
            self._run(command)
        except Failed:
            return

    def _run(self, command):
        if command.startswith("for c in"):
            return "sacct: Connection refused\n" if self.mute.at(self.clock.now) else "junk\n"
        first, _, second = command.partition(" && ")
        if second:
            return self._run(first) + self._run(second)
        first, _, second = command.partition(" || ")
        if second:
            row = first.rpartition("^")[2].rstrip('"')
            try:
                rows = [line for line in self._run(first).splitlines() if line.startswith(row)]
            except Failed:
                rows = []
            return "\n".join(rows) or self._run(second)
        words = shlex.split(command)
        name, *rest = words[2:] if words[0] == "timeout" else words
        return getattr(self, f"_{name}")(rest)

    def _sbatch(self, words):
        options = dict(word[2:].partition("=")[::2] for word in words if word.startswith("--"))
        if self.down.at(self.clock.now):
            raise Failed(1, ["sbatch: error: Batch job submission failed: " + DOWN])
        if self.full.at(self.clock.now):
            raise Failed(1, ["sbatch: error: AssocMaxSubmitJobLimit", "sbatch: error: ..."])
        job = SimpleNamespace(number=100 + len(self.jobs), name=options["job-name"], turn=0)
        job.folder, job.state, job.code, job.book = Path(options["chdir"]), "", "0:0", []
        lines = (job.folder / "requests.jsonl").read_text().splitlines()
        job.requests = [json.loads(line) for line in lines]
        job.keys = {request["id"] for request in job.requests}
        job.failed, job.written = set(), 0.0
        for other in self.jobs.values():
            if other.state in LIVING and other.keys & job.keys:
                self.wrong.append(f"{job.number} was submitted while {other.number} lived")
        self.jobs[job.number] = job
        self._queue(job)
        if self.loss and self.rng.random() < self.loss:
            raise Failed(1, ["sbatch: error: Socket timed out on send/recv operation"])
        return f"welcome\n{job.number};cluster\n"

    def _squeue(self, words):
        if self.down.at(self.clock.now):
            raise Failed(1, [DOWN])
        if "-j" in words:
            job = self.jobs.get(int(words[words.index("-j") + 1]))
            if job is None or (job.state not in LIVING and self.rng.random() < 0.5):
                raise Failed(1, ["slurm_load_jobs error: Invalid job id specified"])
            mine = [job]
        else:
            mine = list(self.jobs.values())
        if self.empty["squeue"].at(self.clock.now):
            return ""
        form = words[words.index("-o") + 1]
        rows = [
            form.replace("%i", str(j.number)).replace("%T", self._stood(j)).replace("%j", j.name)
            for j in mine
            if self._stood(j) in LIVING
        ]
        return "\n".join([*FOREIGN, *rows]) + "\n"

    def _stood(self, job):
        """Return the state of a job, or its state when the answers began to be out of date."""
        then = self.stale.at(self.clock.now)
        if then is None:
            return job.state
        return next((state for time, state, _ in reversed(job.book) if time <= then), "")

    def _sacct(self, words):
        if self.mute.at(self.clock.now):
            raise Failed(1, ["sacct: error: Problem talking to the database: Connection refused"])
        if self.empty["sacct"].at(self.clock.now):
            return ""
        rows = []
        for job in self.jobs.values():
            asked = "".join(word[7:] for word in words if word.startswith("--name="))
            if job.name == asked or str(job.number) in words:
                known = [b for b in job.book if b[0] <= self.clock.now - self.lag * (b[0] % 1)]
                third = job.name if asked else known[-1][2] if known else ""
                rows += [f"{job.number}|{known[-1][1]}|{third}"] if known else []
        return "\n".join([*FOREIGN, *rows]) + "\n"

    def _scancel(self, words):
        if self.down.at(self.clock.now):
            raise Failed(1, ["scancel: error: " + DOWN])
        (name,) = words
        for job in self.jobs.values():
            if f"--name={job.name}" == name and job.state in LIVING:
                self._stop(job, "CANCELLED by 1000")
                return ""
        if self.rng.random() < 0.5:
            raise Failed(1, ["scancel: error: Kill job error: Invalid job id specified"])
        return ""

    def _stand(self, job, state, code="0:0"):
        job.state, job.code = state, code
        job.turn += 1
        job.book.append((self.clock.now + self.rng.random() * 1e-3, state, code))

    def _queue(self, job):
        self._stand(job, "PENDING")
        turn = job.turn
        self.clock.at(
            self.clock.now + self.rng.choice([1.0, 30.0, 900.0]),
            lambda: job.turn == turn and self._start(job),
        )

    def _start(self, job):
        self._stand(job, "RUNNING")
        turn = job.turn
        self._later(job, turn, WALLTIME, lambda: self._stop(job, "TIMEOUT"))
        if self.accidents:
            accident = self.accidents.pop()
            wait = self.rng.choice([0.5, 100.0, 400.0])
            self._later(job, turn, wait, lambda: self._accident(job, accident))
        self._write(job, b"\n")
        self._serve(job, turn, list(job.requests))

    def _later(self, job, turn, seconds, action):
        self.clock.at(self.clock.now + seconds, lambda: job.turn == turn and action())

    def _accident(self, job, accident):
        if accident == "requeue":
            self._stop(job, "NODE_FAIL")
            self._queue(job)
            job.book[-1] = (job.book[-1][0] + self.rng.choice([0.0, 200.0]), *job.book[-1][1:])
            return
        if accident.startswith("CANCELLED"):
            self.cancelled_keys = {key for key in job.keys if not self._is_made(key)}
            self.cancelled_keys -= job.failed
        self._stop(job, accident)

    def _is_made(self, key):
        return all((kind, key) in self.store.seen for kind in KINDS)

    def _stop(self, job, state, code="0:0"):
        if job.state == "RUNNING" and state != "COMPLETED" and self.rng.random() < 0.3:
            self._write(job, b'{"id": "torn", "eve')
        self._stand(job, state, code)

    def _serve(self, job, turn, left):
        """Process the requests one after another, as the payload does."""
        while left and left[0]["id"] in job.failed:
            left.pop(0)
        if not left:
            self._note(job, event="end")
            self._later(job, turn, 0.5, lambda: self._stop(job, "COMPLETED"))
            return
        request = left.pop(0)
        key, kind = request["id"], request["kind"]
        habit = self.habits.get(key, "made") if kind == "runs" else "made"
        self._note(job, id=key, event="begun")
        self._note(job, event="log", message=f"{key} at work")
        if (kind, key) in self.store.seen:
            self._note(job, id=key, event="done")
            self._later(job, turn, 0.1, lambda: self._serve(job, turn, left))
            return
        if habit == "slow":
            return
        end = self._end(job, turn, left, key, kind, habit)
        self._later(job, turn, self.rng.uniform(1, 200), end)

    def _end(self, job, turn, left, key, kind, habit):
        def end():
            self.tries[kind, key] += 1
            if habit == "hungry":
                return self._stop(job, "OUT_OF_MEMORY", "0:125")
            if habit == "crash" or (habit == "crash once" and self.tries[kind, key] == 1):
                return self._stop(job, "FAILED", "3:0")
            passing = habit == "disk" or (habit == "disk once" and self.tries[kind, key] == 1)
            if habit == "numeric" or passing:
                reason = "disk full" if passing else "not finite"
                self._note(
                    job, id=key, event="failed", reason=reason, cause="error", transient=passing
                )
                left[:] = [other for other in left if other["id"] != key]
                job.failed |= set() if passing else {key}
            else:
                self.store.make(kind, key, self.rng.uniform(0, self.nfs))
                self._note(job, id=key, event="done")
            self._later(job, turn, 0.1, lambda: self._serve(job, turn, left))

        return end

    def _note(self, job, **event):
        line = json.dumps(event).encode() + b"\n"
        cut = self.rng.randrange(len(line)) if self.nfs else 0
        self._write(job, line[:cut])
        self._write(job, line[cut:])

    def _write(self, job, content):
        """Write to the job's events, which become visible here in order, and late."""
        job.written = max(job.written, self.clock.now + self.rng.uniform(0, self.nfs))

        def seen():
            if (job.folder / "events.jsonl").exists():
                with (job.folder / "events.jsonl").open("ab") as file:
                    file.write(content)

        self.clock.at(job.written, seen)
