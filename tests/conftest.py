import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from evenbits import _core

# The tests also run on emulated processors and with sanitizers.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


@pytest.fixture(params=_core.available_isas())
def isa(request):
    """The test runs once with the kernels of every instruction set of this machine."""
    before = _core.isa()
    _core.use_isa(request.param)
    yield request.param
    _core.use_isa(before)


@pytest.fixture
def rng():
    return np.random.default_rng(0)
