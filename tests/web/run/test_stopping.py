import os

from app.web import SharedStopping


def test_workers_count_and_the_master_sees_the_sum():
    shared = SharedStopping()
    if (pid := os.fork()) == 0:
        shared.count_in(2)
        shared.begin()
        shared.begin()
        shared.end()
        os._exit(0)
    os.waitpid(pid, 0)
    shared.count_in(1)
    shared.begin()
    assert shared.running == 2
    shared.forget(2)
    assert shared.running == 1


def test_one_worker_may_leave_and_the_others_go_on():
    shared = SharedStopping()
    if (pid := os.fork()) == 0:
        shared.leave()
        os._exit(0 if shared.is_draining and shared.is_closing else 1)
    assert os.waitpid(pid, 0)[1] == 0
    assert not shared.is_draining and not shared.is_closing


def test_closing_is_draining_too():
    shared = SharedStopping()
    assert not shared.is_draining
    shared.drain()
    assert shared.is_draining and not shared.is_closing
    shared.close()
    assert shared.is_draining and shared.is_closing
