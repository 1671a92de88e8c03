import os
import subprocess
import sys

import pytest

from app.engine.process.owner import Server, find_server
from tests.engine.conftest import ROOT, run_in_fork


def test_a_fork_belongs_to_the_server_of_its_parent():
    here = find_server()
    assert run_in_fork(lambda: find_server() == here)
    assert run_in_fork(lambda: run_in_fork(lambda: find_server() == here))


def test_a_worker_that_gave_up_root_still_knows_its_master():
    here = find_server()

    def work():
        os.setuid(65534 if os.getuid() == 0 else os.getuid())
        return find_server() == here

    assert run_in_fork(work)


def test_a_program_started_anew_is_a_server_of_its_own():
    code = "from app.engine.process.owner import *; print(find_server().pid == os.getpid())"
    assert subprocess.check_output([sys.executable, "-c", code], cwd=ROOT) == b"True\n"


def test_a_later_process_of_the_same_number_is_another_server():
    here = find_server()
    assert here.is_alive()
    later = Server(here.pid, here.started + 1)
    assert not later.is_alive()
    with pytest.raises(ProcessLookupError):
        later.watch()


def test_a_zombie_is_not_alive():
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert not Server(pid, find_server().started).is_alive()
    os.waitpid(pid, 0)
