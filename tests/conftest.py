"""What every test shares: how hypothesis searches, and ledgers."""

from __future__ import annotations

from hypothesis import settings

pytest_plugins = ("tests.jobs.ledgers",)

# A busy machine is not a bug, so no example fails for being slow.
settings.register_profile("kapelle", deadline=None)
settings.load_profile("kapelle")
