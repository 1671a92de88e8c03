import os
import re
import threading

import pytest

from app.engine import EngineError, EngineOptions
from app.engine.process import launch
from app.engine.process.launch import Launch, check_directory, find_home
from app.engine.process.owner import find_server
from tests.engine.conftest import find_engines, wait_for_engine
from tests.waiting import wait_until

OPTIONS = EngineOptions(models={"fake": "model"})
SERVER = find_server()


def test_a_directory_that_others_can_enter_is_refused(tmp_path):
    (tmp_path / f"continuo-{os.getuid()}").mkdir(mode=0o755)
    with pytest.raises(EngineError, match="nobody else can enter"):
        find_home(OPTIONS, SERVER, str(tmp_path))


def test_a_link_in_place_of_the_directory_is_refused(tmp_path):
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    (tmp_path / f"continuo-{os.getuid()}").symlink_to("elsewhere")
    with pytest.raises(EngineError, match="must be a directory that you own"):
        find_home(OPTIONS, SERVER, str(tmp_path))


def test_a_directory_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(EngineError, match="gone/continuo-.* cannot hold .*: No such file"):
        find_home(OPTIONS, SERVER, str(tmp_path / "gone"))


def test_a_path_too_long_for_a_socket_is_refused_at_once(tmp_path):
    deep = tmp_path / ("x" * 100)
    deep.mkdir()
    with pytest.raises(EngineError, match="too long for a socket"):
        find_home(OPTIONS, SERVER, str(deep))


@pytest.mark.parametrize("depth", [90, 107])
def test_a_directory_where_no_engine_could_live_is_known_beforehand(tmp_path, depth):
    deep = tmp_path / ("x" * (depth - len(str(tmp_path)) - 1))
    deep.mkdir()
    with pytest.raises(EngineError, match="too long to hold a socket"):
        check_directory(str(deep))


def test_a_full_directory_is_known_beforehand(tmp_path, monkeypatch):
    def is_full(*args, **more):
        raise OSError(28, "No space left on device")

    check_directory(str(tmp_path))
    monkeypatch.setattr(launch.tempfile, "TemporaryFile", is_full)
    with pytest.raises(EngineError, match="cannot hold the engine's files: No space left"):
        check_directory(str(tmp_path))


def test_other_options_mean_another_engine(tmp_path):
    other = EngineOptions(models={"fake": "model"}, threads=1)
    homes = {
        find_home(options, SERVER, str(tmp_path)).path for options in (OPTIONS, other, OPTIONS)
    }
    assert len(homes) == 2


def test_whoever_starts_at_the_same_time_one_engine_runs(connect_fake, tmp_path):
    barrier = threading.Barrier(8)

    def start():
        barrier.wait()
        connect_fake()

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wait_for_engine(tmp_path)


def test_a_secret_in_the_options_is_not_in_the_command_line(connect_fake, tmp_path):
    connect_fake("a-secret")
    engine = wait_for_engine(tmp_path)
    with open(f"/proc/{engine}/cmdline", "rb") as file:
        assert b"a-secret" not in file.read()


def test_a_server_that_has_ended_gets_no_engine(tmp_path):
    gone = type(SERVER)(SERVER.pid, SERVER.started + 1)
    home = find_home(OPTIONS, gone, str(tmp_path))
    assert home.start(Launch(OPTIONS, gone, "/")) == "The server has ended."
    assert find_engines(tmp_path) == []


def test_while_a_restart_is_waited_for_everybody_knows_for_how_long(
    connect_fake, tmp_path, monkeypatch
):
    monkeypatch.setattr(launch, "RESTARTS", (0, 0, 0, 60))
    home = find_home(OPTIONS, SERVER, str(tmp_path))
    home.path.mkdir(mode=0o700)
    (home.path / "starts").write_text("4")
    client = connect_fake()
    wait_until(lambda: client.state().name == "restarting")
    left = re.search(r"starts again in (\d+) s\.$", client.state().message)
    assert left is not None and 0 < int(left[1]) <= 60
