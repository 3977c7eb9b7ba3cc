"""Work on several threads."""

from __future__ import annotations

import os

import pytest

from dwpose.runtimes.threads import in_parallel


@pytest.mark.parametrize("count", [0, 1, 2, 50])
def test_every_call_is_made_once(count):
    done = []
    in_parallel(done.append, count)
    assert sorted(done) == list(range(count))


@pytest.mark.parametrize("count", [1, 9])
def test_errors_reach_the_caller(count):
    def work(i):
        if i == 0:
            raise KeyError("zero")

    with pytest.raises(KeyError, match="zero"):
        in_parallel(work, count)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_has_threads_of_its_own():
    in_parallel(lambda _: None, 4)
    child = os.fork()
    if child == 0:
        done = []
        in_parallel(done.append, 4)
        os._exit(0 if len(done) == 4 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
