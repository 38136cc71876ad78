"""Talk to a worker: start it, send requests, pass on events, and survive its death."""

import collections
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from lambda_hat_core.store.store import Kind

Event = dict[str, Any]

_TAIL = 20


def request(kind: Kind, spec: Any, target: Any = None) -> Event:
    """Return the request for one artifact.

    Args:
        kind: what is to be made.
        spec: a `Trajectory`, a `TargetSpec`, a `RunSpec` (of a run or of its analysis), or a
            `Gallery`.
        target: the spec of the target that a `RunSpec` samples; None for the other kinds.
    """
    line = {"id": spec.id, "kind": kind, "spec": spec.model_dump(mode="json")}
    return line if target is None else line | {"target": target.model_dump(mode="json")}


class WorkerClient:
    """One worker process, started when first needed, kept warm between requests.

    Two threads must not use it at once. If a worker dies, its current request fails, and the next
    request starts another worker.

    Args:
        home: root of the store.
        argv: command that starts a worker.
        env: added to this process's environment; JAX_ENABLE_X64 determines the dtype.
    """

    def __init__(
        self,
        home: Path,
        argv: Sequence[str] = (sys.executable, "-m", "lambda_hat_core.work.worker"),
        env: Mapping[str, str] | None = None,
    ):
        self._command = [*argv, "--home", str(home)]
        self._env = {**os.environ, **(env or {})}
        self._process: subprocess.Popen[str] | None = None
        self._errors: collections.deque[str] = collections.deque(maxlen=_TAIL)
        self._reader: threading.Thread | None = None
        self._killed = False

    def __enter__(self) -> "WorkerClient":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """The worker's process id, or None if no worker runs."""
        return None if self._process is None else self._process.pid

    def run(self, requests: Iterable[Event]) -> Iterator[Event]:
        """Send requests one after the other and yield their events.

        Every request ends in one event "done" or "failed". The failure of a worker that died has
        cause "died" and is transient.
        """
        for line in requests:
            yield from self._one(line)

    def answer(self, go: bool) -> None:
        """Let a steered request go on after its progress event, or stop it there."""
        process = self._process
        assert process is not None and process.stdin is not None
        try:
            process.stdin.write(json.dumps({"go": go}) + "\n")
            process.stdin.flush()
        except BrokenPipeError:
            pass

    def kill(self) -> None:
        """End the worker from another thread, even while it is being started.

        Its current request fails, and the next request starts another worker.
        """
        self._killed = True
        if (process := self._process) is not None:
            process.kill()

    def close(self) -> None:
        """End the worker immediately."""
        if self._process is None:
            return
        process, self._process = self._process, None
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with suppress(BrokenPipeError):
                    stream.close()
        if self._reader is not None:
            self._reader.join()

    def _one(self, line: Event) -> Iterator[Event]:
        try:
            process = self._started()
            assert process.stdin is not None and process.stdout is not None
            process.stdin.write(json.dumps(line) + "\n")
            process.stdin.flush()
        except BrokenPipeError:
            yield self._death(line)
            return
        except OSError as error:
            yield _failed(line, f"{self._command[0]} cannot be started: {error.strerror}")
            return
        for answer in process.stdout:
            event = _parse(answer)
            if event.get("event") == "ready":
                continue
            yield {"id": line.get("id"), **event}
            if event["event"] in ("done", "failed"):
                return
        yield self._death(line)

    def _started(self) -> "subprocess.Popen[str]":
        if self._process is None:
            self._errors.clear()
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                env=self._env,
            )
            self._reader = threading.Thread(
                target=_forward, args=(self._process.stderr, self._errors), daemon=True
            )
            self._reader.start()
        if self._killed:
            self._process.kill()
        return self._process

    def _death(self, line: Event) -> Event:
        assert self._process is not None
        code = self._process.wait()
        if self._reader is not None:
            self._reader.join(timeout=5)
        self.close()
        self._killed = False
        last = next((text for text in reversed(self._errors) if text.strip()), "")
        return _failed(line, how_it_ended(code) + (f" ({last.strip()})" if last else ""))


def how_it_ended(code: int) -> str:
    """Describe an exit code in words, with advice if there is any."""
    from lambda_hat_core.work.outcomes import LESS_MEMORY

    number = -code if code < 0 else code - 128
    if number == signal.SIGKILL:
        return f"the payload was killed by signal 9, perhaps out of memory: {LESS_MEMORY}"
    if number in set(signal.Signals):
        return f"the payload was killed by signal {number} ({signal.Signals(number).name})"
    return f"the payload exited with code {code}"


def _failed(line: Event, reason: str) -> Event:
    return {
        "id": line.get("id"),
        "event": "failed",
        "reason": reason,
        "cause": "died",
        "transient": True,
    }


_FIELDS: dict[str, dict[str, type]] = {
    "ready": {},
    "begun": {},
    "end": {},
    "log": {"message": str},
    "progress": {"done": int, "total": int},
    "done": {},
    "failed": {"reason": str, "cause": str, "transient": bool},
}
"""What the events of workers and of payloads must have, by their kind."""


def event_of(line: str | bytes) -> Event | None:
    """Return the event on a line; None if there is none, as on those that a wrapper writes."""
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return None
    kind = event.get("event") if isinstance(event, dict) else None
    if not isinstance(kind, str) or kind not in _FIELDS:
        return None
    fields = _FIELDS[kind].items()
    return event if all(isinstance(event.get(name), of) for name, of in fields) else None


def _parse(answer: str) -> Event:
    """Return the event on a line; other lines, such as a wrapper's output, become log events."""
    return event_of(answer) or {"event": "log", "message": answer.rstrip("\n")}


def _forward(stream: Any, tail: "collections.deque[str]") -> None:
    """Pass on the worker's stderr, and keep its last lines."""
    with stream:
        for line in stream:
            tail.append(line)
            os.write(2, line.encode())
