"""How a run shows itself: one line that moves on a terminal, plain lines elsewhere."""

import sys
from collections.abc import Callable

from app.training.plan import duration

WIDTH = 24  # of the bar
CLEAR = "\r\x1b[K"  # to the line's beginning, and empty it


class Progress:
    """`say` tells a line that stays; `step` shows where the run is."""

    def __init__(self, steps: int, tell: Callable[[str], None]) -> None:
        self.steps, self.tell = steps, tell
        self.moves = sys.stdout.isatty()

    def say(self, line: str) -> None:
        self.tell(f"{CLEAR}{line}" if self.moves else line)

    def step(self, step: int, loss: float, per_second: float, seconds_left: float) -> None:
        facts = f"step {step:,}/{self.steps:,}  loss {loss:.4f}  {per_second:,.0f} tokens/s"
        facts += f"  {duration(seconds_left)} left"
        if self.moves:
            done = round(WIDTH * step / self.steps)
            bar = "█" * done + "░" * (WIDTH - done)
            print(f"{CLEAR}{bar} {facts}", end="", flush=True)
        else:
            self.tell(facts)

    def close(self) -> None:
        if self.moves:
            print()
