"""How much of the waiting prompts a turn takes in, by what turns have taken so far. No clock here.

>>> pace = Pace()
>>> pace.budget(n_writing=0, n_running=4), pace.budget(n_writing=4, n_running=5)
(512, 0)
"""

LEAST = 8  # tokens of a prompt in a turn: fewer cost as much
LONGEST = 512  # of prompts in the first turn; in later ones, unless the model takes more
IDLE_S = 0.2  # that they may take when nobody is writing
BUSY_S = 0.022  # when somebody is: so much longer do they wait for their next token
MANY = 8  # if more than so many run, turns are longer anyway, or will be, and
SHARE = 1.6  # prompts may take so much of what a token for each of them takes
SLOWER, FASTER = 0.2, 0.5  # weight of what is new: what holds a turn up once is no rule


class Pace:
    def __init__(self, longest: int = LONGEST) -> None:
        self.longest = longest
        # Of turns of 1, 2 to 3, 4 to 7, 8 to 15 ... tokens: lately how many, and seconds.
        # Sizes that are not met any more keep what they took; a machine seldom changes.
        self._known: dict[int, tuple[float, float]] = {}

    def budget(self, n_writing: int, n_running: int) -> int:
        """Tokens of prompts for the next turn, if so many write and so many read or write."""
        if n_writing and not self._knows(n_writing):
            return 0  # for a turn that tells
        seconds = self._seconds(n_writing) + BUSY_S if n_writing else IDLE_S
        if n_running > MANY and self._knows(n_running):
            seconds = max(seconds, (1 + SHARE) * self._seconds(n_running))
        within = [n * seconds / took for n, took in self._known.values() if took <= seconds]
        n = max(within, default=0 if self._known else LONGEST) - n_writing
        return max(LEAST, min(self.longest, round(n / LEAST) * LEAST))

    def note(self, n_tokens: int, seconds: float) -> None:
        """A turn fed so many tokens, of prompts and of texts, and took so long."""
        n, took = self._known.get(n_tokens.bit_length(), (n_tokens, seconds))
        weight = SLOWER if seconds > took else FASTER
        new = n + weight * (n_tokens - n), took + weight * (seconds - took)
        self._known[n_tokens.bit_length()] = new

    def _knows(self, n: int) -> bool:
        return n.bit_length() in self._known

    def _seconds(self, n: int) -> float:
        """At most: twice as many tokens take up to twice as long, fewer no longer than more."""
        return min(took * max(1, n / m) for m, took in self._known.values())
