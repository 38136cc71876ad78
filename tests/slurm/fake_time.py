"""Virtual time, accidents in it, and a store whose artifacts become visible late."""

import heapq
import itertools
from collections import Counter


class Killed(BaseException):
    """The waiting process is killed between two of its instructions."""


class Clock:
    """Time that advances only while somebody sleeps, and executes events when they are due."""

    def __init__(self):
        self.now, self.kill_at = 1e6, None
        self._due, self._order = [], itertools.count()

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        end = self.now + seconds
        if self.kill_at is not None and self.kill_at <= end:
            end, self.kill_at = self.kill_at, None
            self._until(end)
            raise Killed
        self._until(end)

    def at(self, time, action):
        heapq.heappush(self._due, (time, next(self._order), action))

    def _until(self, end):
        while self._due and self._due[0][0] <= end:
            time, _, action = heapq.heappop(self._due)
            self.now = max(self.now, time)
            action()
        self.now = max(self.now, end)


class Windows:
    """Short intervals in which something fails, with longer intervals between them."""

    def __init__(self, rng, start, often, longest, gap=130.0):
        self._spans = []
        while often and start < 1e6 + 40_000:
            start += gap + rng.expovariate(1 / often)
            self._spans.append((start, start + rng.uniform(0, longest)))
            start = self._spans[-1][1]

    def at(self, now):
        return next((begin for begin, end in self._spans if begin <= now < end), None)


class FakeStore:
    """Records when artifacts become visible, and how often they were computed."""

    def __init__(self, root, clock):
        self.root, self._clock = root, clock
        self.seen, self.computed = {}, Counter()

    def is_complete(self, kind, id):
        return self.seen.get((kind, id), float("inf")) <= self._clock.now

    def make(self, kind, id, delay):
        self.computed[kind, id] += 1
        self.seen[kind, id] = self._clock.now + delay
