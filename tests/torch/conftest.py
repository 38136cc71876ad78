"""Tests of PyTorch modules. They are skipped where the extra `torch` is not installed."""

import pytest


@pytest.fixture
def told():
    """Return a function that gives the message of the ValueError that a call raises."""

    def message(call, *args):
        with pytest.raises(ValueError) as caught:
            call(*args)
        return str(caught.value)

    return message
