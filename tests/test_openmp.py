"""OpenMP threads spin only briefly, which is set before the libraries that use them load."""

import os
import re
import subprocess
import sys

import pytest

from ner_edge.openmp import SPINS

LIBRARIES = ["from ner_edge import Tagger", "import ner_edge.train.run"]


def spins(code: str, **environment: str) -> list[str]:
    """Return the spin count of each gcc OpenMP library that `code` loads."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "GOMP_"))}
    shown = subprocess.run(
        [sys.executable, "-c", code],
        env=inherited | environment | {"OMP_DISPLAY_ENV": "verbose"},
        capture_output=True,
        text=True,
        check=True,
    )
    found = re.findall(r"GOMP_SPINCOUNT = '(.*)'", shown.stderr)
    if not found:
        pytest.skip("no OpenMP of gcc here")
    return found


@pytest.mark.parametrize("code", LIBRARIES)
def test_threads_spin_briefly(code: str) -> None:
    assert set(spins(code)) == {str(SPINS)}


@pytest.mark.parametrize("code", LIBRARIES)
def test_the_environment_takes_precedence(code: str) -> None:
    assert set(spins(code, GOMP_SPINCOUNT="77")) == {"77"}
    assert str(SPINS) not in spins(code, OMP_WAIT_POLICY="active")
