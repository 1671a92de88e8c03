"""What follows a row's text is at any time what counting it anew would give."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from app.engine.turns.adjusting import Counts, Mirror

# A row's text between two draws: it grows by tokens, loses its last, or slides.
CHANGES = st.lists(
    st.one_of(
        st.lists(st.integers(0, 200), min_size=1, max_size=90),
        st.sampled_from(["take back", "slide"]),
    ),
    max_size=12,
)


@given(changes=CHANGES, n_latest=st.sampled_from([0, 1, 7, 50]))
def test_counts_and_the_mirror_follow_a_text(changes, n_latest):
    counts, mirror, tokens = Counts(), Mirror(), []
    for change in changes:
        if change == "take back":
            del tokens[-2:]
        elif change == "slide":
            del tokens[: len(tokens) // 2]
        else:
            tokens += change
        ids, n = counts.follow(tokens, n_latest)
        found = dict(zip(ids.tolist(), n.tolist(), strict=True))
        assert found == Counter(tokens[-n_latest:])
        assert mirror.follow(tokens).tolist() == tokens
