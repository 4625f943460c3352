import pytest

from evenbits import _core


@pytest.fixture(params=_core.available_isas())
def isa(request):
    """The benchmark runs once with the kernels of every instruction set of this machine."""
    before = _core.isa()
    _core.use_isa(request.param)
    yield request.param
    _core.use_isa(before)
