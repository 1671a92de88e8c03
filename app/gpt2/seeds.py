"""Seeds: whole numbers that give the same text again, on any machine."""

MAX_SEED = 2**53 - 1  # the largest whole number that JSON and JavaScript carry exactly
MASK = 2**64 - 1


def row_seed(seed: int, row: int) -> int:
    """The seed of continuation `row` of a request; sent alone, it gives that continuation."""
    return seed if row == 0 else mix(mix(seed) + row) & MAX_SEED


def mix(x: int) -> int:
    """splitmix64: 64 bits in, 64 well mixed bits out."""
    x = (x + 0x9E3779B97F4A7C15) & MASK
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
    return x ^ (x >> 31)
