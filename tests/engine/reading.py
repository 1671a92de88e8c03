"""What a completion's events come to, for tests."""

from app.engine import Ended, Started, Token


def read(completion):
    """All events; the completion is over."""
    return list(completion)


def of_kind(events, kind):
    return [event for event in events if isinstance(event, kind)]


def ids_of(events, choice=0):
    return [event.id for event in of_kind(events, Token) if event.choice == choice]


def text_of(events, choice=0):
    return "".join(event.text for event in of_kind(events, Token | Ended) if event.choice == choice)


def started_of(events):
    [started] = of_kind(events, Started)
    return started


def ended_of(events, choice=0):
    [ended] = [event for event in of_kind(events, Ended) if event.choice == choice]
    return ended
