import threading

from limits import RateLimitItemPerHour
from limits.strategies import FixedWindowRateLimiter

from app.web.guard import tally


def open_tally(tmp_path):
    return tally.SQLiteStorage(f"sqlite://{tmp_path}/limits")


def test_workers_that_share_a_file_share_a_limit(tmp_path):
    one, other = (FixedWindowRateLimiter(open_tally(tmp_path)) for _ in range(2))
    limit = RateLimitItemPerHour(2)
    assert [who.hit(limit, "a") for who in (one, other, one, other)] == [True, True, False, False]
    assert one.hit(limit, "b")
    assert other.get_window_stats(limit, "b").remaining == 1


def test_no_count_is_lost_in_a_race(tmp_path):
    storage = open_tally(tmp_path)
    threads = [
        threading.Thread(target=lambda: [storage.incr("k", 60) for _ in range(20)])
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert storage.get("k") == 80


def test_a_count_begins_anew_when_its_time_is_over(tmp_path, monkeypatch):
    storage = open_tally(tmp_path)
    monkeypatch.setattr(tally.time, "time", lambda: 1000.0)
    assert storage.incr("k", 10, 3) == 3 and storage.get_expiry("k") == 1010
    monkeypatch.setattr(tally.time, "time", lambda: 1011.0)
    assert storage.get("k") == 0
    assert storage.incr("k", 10) == 1 and storage.get_expiry("k") == 1021
    storage.clear("k")
    assert storage.get("k") == 0 and storage.check()
