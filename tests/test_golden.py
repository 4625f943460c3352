from pathlib import Path

import numpy as np
import pytest
from golden.make import CALIBRATED, CASES, arrays, calibrated

import evenbits
from evenbits.quantizers import calibrated_methods

FILES = sorted((Path(__file__).parent / "golden").glob("*.safetensors"))


def test_there_is_a_file_for_every_method():
    assert {f.stem for f in FILES} >= {f"v1-{method}" for method in [*evenbits.methods(), *calibrated_methods()]}
    assert set(CASES) == set(evenbits.methods()) and set(CALIBRATED) == set(calibrated_methods())


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_files_of_earlier_versions_decode_to_the_same_bytes(isa, path):
    content = evenbits.load(path, verify=True)
    encoded = {name: item for name, item in content.items() if isinstance(item, evenbits.Encoded)}
    assert len(encoded) * 2 == len(content)
    for name, item in encoded.items():
        assert evenbits.decode(item).tobytes() == content[f"{name}:decoded"].tobytes()


@pytest.mark.parametrize("method", [*CASES, *CALIBRATED])
def test_encoding_gives_the_bytes_it_gave(isa, method):
    """The same input, options and seed: the same codes on every machine, as those that wrote the file."""
    stored = evenbits.load(Path(__file__).parent / "golden" / f"v1-{method}.safetensors")
    for name, item in (arrays if method in CASES else calibrated)(method).items():
        old = stored[name]
        if isinstance(item, np.ndarray):
            assert item.tobytes() == old.tobytes()
        else:
            assert item.spec == old.spec
            assert {k: p.tobytes() for k, p in item.planes.items()} == {k: p.tobytes() for k, p in old.planes.items()}
