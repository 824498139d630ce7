"""Signals become a request; the second one acts at once."""

import os
import signal
import threading
import time

import pytest

from bitspike.train.interrupt import StopRequest


def wait_for(event, seconds=10.0):
    """Another thread may take the signal first, so it arrives when the system likes."""
    end = time.monotonic() + seconds
    while not event() and time.monotonic() < end:
        time.sleep(0.001)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_is_noted_and_handlers_are_restored(number):
    before = signal.getsignal(number)
    with StopRequest() as stop:
        assert stop.received is None
        os.kill(os.getpid(), number)
        wait_for(lambda: stop.received is not None)
        assert stop.received == number
        assert signal.getsignal(number) == before
    assert signal.getsignal(number) == before


@pytest.fixture
def python_minds_ctrl_c():
    """A process that a shell starts in the background ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_a_second_ctrl_c_acts_at_once(python_minds_ctrl_c):
    with pytest.raises(KeyboardInterrupt), StopRequest() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        wait_for(lambda: stop.received is not None)
        os.kill(os.getpid(), signal.SIGINT)
        wait_for(lambda: False)
        raise AssertionError("the second signal was swallowed")


def test_outside_the_main_thread_nothing_happens():
    seen = []

    def work():
        with StopRequest() as stop:
            seen.append((stop.received, signal.getsignal(signal.SIGINT)))

    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(None, before)]
