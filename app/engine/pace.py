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
IN_A_ROW = 16  # turns with prompts, before one without tells again what writing takes


class Pace:
    def __init__(self) -> None:
        self.token_s = GUESS_S  # that a token of a prompt adds to a turn
        self.turn_s: dict[int, float] = {}  # of a turn in which so many (see _size) only write
        self._in_a_row = 0

    def budget(self, n_writing: int) -> int:
        """Tokens of prompts for the next turn."""
        if n_writing and self._in_a_row >= IN_A_ROW:
            return 0
        seconds = BUSY_S if n_writing else IDLE_S
        if n_writing >= MANY:
            seconds = max(seconds, SHARE * self.turn_s.get(_size(n_writing), 0.0))
        return max(1, min(LONGEST, round(seconds / self.token_s)))

    def note(self, n_writing: int, n_prompt: int, seconds: float) -> None:
        """A turn took so long."""
        size = _size(n_writing)
        if not n_prompt:
            self._in_a_row = 0
            self.turn_s[size] = _blend(self.turn_s.get(size, seconds), seconds)
            return
        self._in_a_row += 1
        if not n_writing:
            self.token_s = _blend(self.token_s, seconds / n_prompt)
        elif size in self.turn_s:
            self.token_s = _blend(self.token_s, (seconds - self.turn_s[size]) / n_prompt)


def _size(n_writing: int) -> int:
    """Turns of 1, 2 to 3, 4 to 7, 8 to 15 ... rows take about as long."""
    return n_writing.bit_length()


def _blend(old: float, new: float) -> float:
    """The average moves a little towards what is new, which something else may have held up."""
    likely = min(max(new, old / 2), old * 2)
    return old + WEIGHT * (likely - old)
