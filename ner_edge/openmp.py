"""How long idle OpenMP threads spin, in llama.cpp and in torch.

A step of a small model runs hundreds of short parallel loops. A thread that finishes its part of a
loop spins until the others have finished, too. If another program occupies a core that one of them
needs, the spinning is wasted; a thread that sleeps early frees its core. LOG.md has measurements.
"""

import os

SPINS = 3000
"""How often a thread checks before it sleeps; gcc's OpenMP defaults to a hundred times as many."""


def limit_spinning() -> None:
    """Make idle threads sleep early, unless the environment sets how they wait.

    Call this before an OpenMP library is loaded: it reads the setting only once.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", str(SPINS))
