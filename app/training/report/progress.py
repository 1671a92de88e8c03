"""Progress: one line that is updated on a terminal, plain lines elsewhere."""

import shutil
import sys
from collections.abc import Callable

from app.training.report.plan_words import duration

WIDTH, LEAST = 24, 8  # of the bar, if there is room
CLEAR = "\r\x1b[K"  # to the line's start, and clear it


class Progress:
    """`say` prints a line that stays; `step` shows how far the run is."""

    def __init__(self, steps: int, tell: Callable[[str], None], quiet: bool) -> None:
        self.steps, self.tell = steps, tell
        self.moves = sys.stdout.isatty() and not quiet
        self.is_shown = False  # the line that is updated

    def say(self, line: str) -> None:
        self.tell(f"{CLEAR}{line}" if self.is_shown else line)
        self.is_shown = False

    def step(self, step: int, loss: float, per_second: float, seconds_left: float) -> None:
        facts = f"step {step:,}/{self.steps:,}  loss {loss:.4f}  {per_second:,.0f} tokens/s"
        facts += f"  {duration(seconds_left)} left"
        if self.moves:
            print(CLEAR + self._fitted(step / self.steps, facts), end="", flush=True)
            self.is_shown = True
        else:
            self.tell(facts)

    def _fitted(self, share: float, facts: str) -> str:
        """Cut to one line of the terminal: a line that wraps cannot be cleared."""
        room = shutil.get_terminal_size().columns - 1
        width = min(WIDTH, room - len(facts) - 1)
        if width < LEAST:
            return facts[:room]
        done = round(width * share)
        return "█" * done + "░" * (width - done) + f" {facts}"

    def close(self) -> None:
        if self.is_shown:
            print()
