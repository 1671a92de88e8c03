"""`python deployment/run_server.py`, as the tutorials of 2019 start their server: the same as
`continuo serve`, wherever it is called from."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

if __name__ == "__main__":
    from app.__main__ import main

    main(["serve", *sys.argv[1:]], prog_name="continuo")
