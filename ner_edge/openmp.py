"""How long OpenMP's threads wait awake, in llama.cpp and in torch.

A step of a small model is hundreds of short parallel loops, and a thread that is done with its part
of one spins until the others are. Where another program has the processor of one of those, it spins
in vain; a thread that sleeps soon gives its processor away. LOG.md has what both cost.
"""

import os

SPINS = 3000
"""The default of gcc's OpenMP is a hundred times as many."""


def sleep_soon() -> None:
    """Let threads spin briefly, unless the environment says how they are to wait. To be called
    before an OpenMP library is loaded, which reads it once."""
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", str(SPINS))
