import os

from app.web.guard.shares import Shares


def test_each_name_has_its_share():
    shares = Shares()
    assert shares.take("a", 2, most=3) and shares.take("a", 1, most=3)
    assert not shares.take("a", 1, most=3)
    assert shares.take("b", 3, most=3)
    shares.give_back("a", 2)
    assert shares.take("a", 2, most=3)


def test_one_request_passes_however_large():
    shares = Shares()
    assert shares.take("a", 64, most=8)
    assert not shares.take("a", 1, most=8)


def test_workers_count_together_and_a_dead_one_no_more():
    shares = Shares()
    if (pid := os.fork()) == 0:
        shares.count_in(2)
        shares.take("a", 3, most=3)
        os._exit(0)
    os.waitpid(pid, 0)
    shares.count_in(1)
    assert not shares.take("a", 1, most=3)
    shares.forget(2)
    assert shares.take("a", 1, most=3)
