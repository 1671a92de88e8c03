"""How many tokens of waiting prompts a turn reads, judged by how long turns took. Has no clock.

>>> pace = Pace()
>>> pace.budget(n_writing=0, n_running=4), pace.budget(n_writing=4, n_running=5)
(512, 0)
"""

LEAST = 8  # tokens of a prompt in a turn; fewer would take as long
LONGEST = 512  # tokens of prompts in the first turn, and at most, unless the model says otherwise
IDLE_S = 0.2  # how long a turn may take while nobody is writing
STALL_S = 0.015  # how much prompts may delay the next token of rows that write
# With more rows than CROWD a turn is long anyway: prompts may add CROWD_SHARE times what one token
# for every row takes.
CROWD = 8
CROWD_SHARE = 1.6
SLOWER, FASTER = 0.2, 0.5  # weight of a new measurement: one slow turn proves little


class Pace:
    def __init__(self, longest: int = LONGEST) -> None:
        self.longest = longest
        # For turns of 1, 2 to 3, 4 to 7, 8 to 15 ... tokens: recent means of tokens and seconds.
        self._known: dict[int, tuple[float, float]] = {}

    def budget(self, n_writing: int, n_running: int) -> int:
        """Tokens of prompts for the next turn, in which n_running rows read or write."""
        if n_writing and not self._knows(n_writing):
            return 0  # one turn without prompts, to learn what it takes
        seconds = self._seconds(n_writing) + STALL_S if n_writing else IDLE_S
        if n_running > CROWD and self._knows(n_running):
            seconds = max(seconds, (1 + CROWD_SHARE) * self._seconds(n_running))
        within = [n * seconds / took for n, took in self._known.values() if took <= seconds]
        n = max(within, default=0 if self._known else LONGEST) - n_writing
        return max(LEAST, min(self.longest, round(n / LEAST) * LEAST))

    def note(self, n_tokens: int, seconds: float) -> None:
        """Record how many tokens a turn fed, read and written, and how long it took."""
        n, took = self._known.get(n_tokens.bit_length(), (n_tokens, seconds))
        weight = SLOWER if seconds > took else FASTER
        new = n + weight * (n_tokens - n), took + weight * (seconds - took)
        self._known[n_tokens.bit_length()] = new

    def _knows(self, n: int) -> bool:
        return n.bit_length() in self._known

    def _seconds(self, n: int) -> float:
        """What a turn of n tokens takes, at most: time grows no faster than n and never falls."""
        return min(took * max(1, n / m) for m, took in self._known.values())
