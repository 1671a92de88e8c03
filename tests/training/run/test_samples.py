"""Samples are kept whole, and each step's once."""

from app.training.run.samples import Sample, keep_samples, read_samples


def row(text):
    return [Sample("Once", text, [1])]


def test_every_round_is_kept_and_a_repeated_one_replaces_what_a_crash_left(tmp_path):
    for step, text in ((1, "a\u2028"), (2, "lost"), (3, "lost"), (2, "b")):
        keep_samples(tmp_path, step, row(text))
    kept = [(r.step, r.samples[0].text) for r in read_samples(tmp_path)]
    assert kept == [(1, "a\u2028"), (2, "b")]
    assert not list(tmp_path.rglob("*.partial"))
