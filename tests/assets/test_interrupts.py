"""Ctrl-C is noted wherever it arrives, also where Python would swallow the exception."""

import signal
import threading

import pytest

from lambda_hat_assets.interrupts import Interrupts


class Swallows:
    """Its finaliser is interrupted: Python prints what is raised there, and goes on."""

    def __del__(self):
        signal.raise_signal(signal.SIGINT)


def test_interrupt_in_a_finaliser_is_seen_and_raised_at_the_end():
    with pytest.raises(KeyboardInterrupt), Interrupts() as interrupts:
        Swallows()
        assert interrupts.seen


def test_second_interrupt_is_raised_at_once_and_the_handler_comes_back():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), Interrupts():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        pytest.fail("the second one was not raised")
    assert signal.getsignal(signal.SIGINT) is before


def test_failure_is_not_hidden_by_an_interrupt():
    with pytest.raises(ValueError, match="first"), Interrupts():
        signal.raise_signal(signal.SIGINT)
        raise ValueError("first")


def test_other_threads_have_no_signals():
    seen = []

    def enter():
        with Interrupts() as interrupts:
            seen.append(interrupts.seen)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert seen == [False]
