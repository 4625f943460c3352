"""Exported networks on emulated microcontrollers, and on other processors of either byte order."""

import firmware
import pytest
from targets import CORES, HOST, SYSTEMS

OPTIMIZED = {"cortex-m0": "-Os", "cortex-m3": "-O2", "cortex-m4": "-Os", "cortex-m7": "-O2"}


@pytest.fixture(scope="module", params=["int8", "float32"])
def program(request, tmp_path_factory):
    """Sources of the program, and what it must print: the checksums of Python's own answers."""
    directory = tmp_path_factory.mktemp(request.param)
    chosen = [case for case in firmware.cases(float_images=50) if case.activations == request.param]
    expected = firmware.write(directory, chosen)
    return sorted(directory.glob("*.c")), [f"-DEVENBITS_FLOAT={int(request.param == 'float32')}"], expected


@pytest.mark.parametrize("target", [HOST, *CORES, *SYSTEMS], ids=lambda target: target.name)
def test_every_network_gives_the_same_bits_as_in_python(target, program, tmp_path):
    if target.missing():
        pytest.skip(f"not on this machine: {', '.join(target.missing())}")
    sources, options, expected = program
    built = target.build(sources, tmp_path / "program", *options, OPTIMIZED.get(target.name, "-O1"))
    assert target.run(built) == expected
