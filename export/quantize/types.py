"""The quantization types that `export` offers, with bits per weight and advice for each."""

from collections.abc import Sequence
from dataclasses import dataclass

from ner_edge.errors import UsageError


@dataclass(frozen=True)
class Quant:
    """A quantization type: its name, llama.cpp's file type number, and its size.

    `bits_per_weight` was measured on Llama-3.1-8B (llama.cpp, tools/quantize/README.md). Small
    models need more, because their rows fit the block sizes less well.
    """

    name: str
    file_type: int
    bits_per_weight: float
    advice: str
    needs_imatrix: bool = False


_ALL = [
    Quant("f32", 0, 32.0, "the merged weights as computed; for checks only"),
    Quant("f16", 1, 16.0, "full precision; all smaller types are made from it"),
    Quant("bf16", 32, 16.0, "like f16, for weights beyond f16's range; slower on most CPUs"),
    Quant("q8_0", 7, 8.5, "no measurable loss; the safe choice"),
    Quant("q6_k", 18, 6.56, "almost no loss"),
    Quant("q5_k_m", 17, 5.70, "small loss; good for small models"),
    Quant("q5_k_s", 16, 5.57, "slightly smaller than q5_k_m"),
    Quant("q5_1", 9, 6.0, "legacy; for rows that are not a multiple of 256"),
    Quant("q5_0", 8, 5.5, "legacy; for rows that are not a multiple of 256"),
    Quant("q4_k_m", 15, 4.89, "a good balance of size and accuracy"),
    Quant("q4_k_s", 14, 4.67, "slightly smaller than q4_k_m"),
    Quant("q4_1", 3, 5.0, "legacy; slightly better than q4_0"),
    Quant("q4_0", 2, 4.5, "fastest on ARM and AVX2; more loss than q4_k_m"),
    Quant("iq4_nl", 25, 4.68, "as small as q4_0 and more accurate; slower"),
    Quant("iq4_xs", 30, 4.46, "the smallest 4-bit type"),
    Quant("q3_k_l", 13, 4.30, "noticeable loss"),
    Quant("q3_k_m", 12, 4.00, "noticeable loss"),
    Quant("q3_k_s", 11, 3.64, "large loss"),
    Quant("iq3_m", 27, 3.76, "better than q3_k_s at the same size; slow"),
    Quant("iq3_s", 26, 3.66, "noticeable loss; slow"),
    Quant("iq3_xs", 22, 3.50, "large loss; slow", needs_imatrix=True),
    Quant("iq3_xxs", 23, 3.25, "large loss; slow", needs_imatrix=True),
    Quant("q2_k", 10, 3.16, "large loss; for models of 7B and more"),
    Quant("q2_k_s", 21, 2.97, "large loss", needs_imatrix=True),
    Quant("iq2_m", 29, 2.93, "large loss; slow", needs_imatrix=True),
    Quant("iq2_s", 28, 2.74, "large loss; slow", needs_imatrix=True),
    Quant("iq2_xs", 20, 2.59, "very large loss; slow", needs_imatrix=True),
    Quant("iq2_xxs", 19, 2.38, "very large loss; slow", needs_imatrix=True),
    Quant("iq1_m", 31, 2.15, "experimental", needs_imatrix=True),
    Quant("iq1_s", 24, 2.00, "experimental", needs_imatrix=True),
]

QUANTS = {quant.name: quant for quant in _ALL}


def quant_table() -> str:
    """Return all quantization types as a table, largest first within each family."""
    lines = [f"{'name':<8} {'bits/weight':>11}  advice"]
    for quant in _ALL:
        advice = quant.advice + (" (needs --imatrix)" if quant.needs_imatrix else "")
        lines.append(f"{quant.name:<8} {quant.bits_per_weight:>11.2f}  {advice}")
    return "\n".join(lines)


def parse_quants(names: Sequence[str], *, has_imatrix: bool = False) -> list[Quant]:
    """Return the quantization types of these names, in upper or lower case, without duplicates.

    Raises `UsageError` with the whole table if a name is unknown, and for a type that needs an
    importance matrix unless the export `has_imatrix`.
    """
    chosen: dict[str, Quant] = {}
    for name in names:
        quant = QUANTS.get(name.strip().lower())
        if quant is None:
            raise UsageError(f"unknown quantization type '{name}'; choose from", quant_table())
        if quant.needs_imatrix and not has_imatrix:
            raise UsageError(
                f"{quant.name} needs an importance matrix: give training sentences with --imatrix; "
                "the smallest types that work without one are q2_k, q3_k_m and iq4_xs"
            )
        chosen[quant.name] = quant
    return list(chosen.values())
