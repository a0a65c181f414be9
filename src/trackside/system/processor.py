"""What this machine's processor is slow at."""

from __future__ import annotations

import re

VARIABLE = "NPY_DISABLE_CPU_FEATURES"
"""Read by NumPy when it is imported."""
FEATURES = "X86_V4 AVX512_ICL"


def avoided(cpuinfo: str) -> str:
    """Features that NumPy should leave alone, by `/proc/cpuinfo`; empty for none.

    AMD's processors with AVX-512 store compressed vectors by microcode (Zen 4), on which NumPy's sort relies: sorting
    by AVX2 is five times as fast there.
    """
    amd = re.search(r"^vendor_id\s*:\s*AuthenticAMD$", cpuinfo, re.MULTILINE)
    return FEATURES if amd and re.search(r"^flags\s*:.*\bavx512f\b", cpuinfo, re.MULTILINE) else ""
