"""How long idle OpenMP threads spin, in llama.cpp and in torch.

A step of a small model runs hundreds of short parallel loops. A thread that finishes its part of a
loop spins until the others have finished too. If another program occupies the processor of one of
those, the spinning is wasted; a thread that soon goes to sleep frees its processor. LOG.md has
measurements.
"""

import os

SPINS = 3000
"""The default of gcc's OpenMP is a hundred times as many."""


def limit_spinning() -> None:
    """Make idle threads sleep soon, unless the environment sets how they wait.

    Call this before an OpenMP library is loaded, which reads the setting only once.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", str(SPINS))
