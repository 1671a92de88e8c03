"""How much of the waiting prompts a turn takes in, by what turns have taken so far. No clock here.

>>> pace = Pace()
>>> pace.budget(n_writing=0), pace.budget(n_writing=4)
(512, 64)
"""

LONGEST = 512  # tokens of prompts in a turn, on however fast a machine
IDLE_S = 0.2  # that they may take when nobody is writing
BUSY_S = 0.022  # when somebody is: so much longer do they wait for their next token
MANY = 8  # who write: then a turn is longer anyway, and
SHARE = 1.6  # prompts may take so much of what it takes without them
GUESS_S = BUSY_S / 64  # for a token of a prompt, at first
WEIGHT = 0.2  # of what is new, in averages


class Pace:
    def __init__(self) -> None:
        self.token_s = GUESS_S  # that a token of a prompt adds to a turn
        self.turn_s = 0.0  # of a turn in which all only write, lately

    def budget(self, n_writing: int) -> int:
        """Tokens of prompts for the next turn."""
        seconds = BUSY_S if n_writing else IDLE_S
        if n_writing >= MANY:
            seconds = max(seconds, SHARE * self.turn_s)
        return max(1, min(LONGEST, round(seconds / self.token_s)))

    def note(self, n_writing: int, n_prompt: int, seconds: float) -> None:
        """A turn took so long."""
        if not n_prompt:
            self.turn_s += WEIGHT * (seconds - self.turn_s)
            return
        taken = (seconds - (self.turn_s if n_writing else 0.0)) / n_prompt
        likely = min(max(taken, self.token_s / 2), self.token_s * 2)  # something else may interrupt
        self.token_s += WEIGHT * (likely - self.token_s)
