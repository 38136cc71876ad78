"""Ctrl-C that is looked at instead of thrown.

Python raises KeyboardInterrupt between any two bytecodes of the main thread, also inside the
callbacks of the garbage collector and of imports, which print an exception and go on: thrown there,
an interrupt is lost.
"""

import signal
import threading
from types import FrameType, TracebackType
from typing import Self


class Interrupts:
    """Notes the first Ctrl-C while it is entered; the second one is raised as usual.

    Attributes:
        seen: whether there was one. Always False outside the main thread, which gets no signals.
    """

    def __init__(self) -> None:
        self.seen = False
        self._before: signal.Handlers | object = None

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)  # pyright: ignore[reportArgumentType]
        if self.seen and error is None:
            raise KeyboardInterrupt

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.seen:
            raise KeyboardInterrupt
        self.seen = True
