"""The interface keeps what its own document promises, whatever is asked of it."""

import hypothesis
import schemathesis
from schemathesis.specs.openapi.checks import positive_data_acceptance

from app import create_app
from app.settings import Settings
from tests.fake_engine import FakeEngine


def make_app():
    engine = FakeEngine()
    engine.lasts = 100
    return create_app(Settings(), engine)


schema = schemathesis.openapi.from_wsgi("/openapi.json", make_app())


@schema.parametrize()
@hypothesis.settings(max_examples=12, deadline=None, phases=[hypothesis.Phase.generate])
def test_every_route_keeps_its_promise(case):
    # What two fields allow together no schema says, so a 422 may meet what fits it.
    case.call_and_validate(excluded_checks=[positive_data_acceptance])
