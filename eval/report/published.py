"""Published results quoted beside measured ones."""

from dataclasses import dataclass

from ner_edge.eval.gold import Gold

QUOTED = "(quoted, not measured)"

Scores = tuple[float, float, float]
"""Precision, recall and F1."""


@dataclass(frozen=True)
class Published:
    """A model's scores in percent on a file, which is recognized by its counts without `-DOCSTART-`
    lines."""

    model: str
    source: str
    data: str
    sentences: int
    tokens: int
    entities: int
    precision: float
    recall: float
    f1: float
    """Strict micro average."""
    scenarios: dict[str, Scores]
    """By nervaluate."""
    per_label: dict[str, Scores]
    """Published as whole percentages."""


def _qwen_7b(
    data: str,
    counts: tuple[int, int, int],
    scenarios: dict[str, Scores],
    per_label: dict[str, Scores],
) -> Published:
    precision, recall, f1 = scenarios["strict"]
    return Published(
        "Qwen2.5-7B LoRA",
        "https://huggingface.co/stefan-it/Qwen2.5-7B-CoNLL-2003",
        data,
        *counts,
        precision,
        recall,
        f1,
        scenarios,
        per_label,
    )


RESULTS = (
    _qwen_7b(
        "CoNLL-2003 eng.testa",
        (3250, 51362, 5942),
        {
            "strict": (96.60, 97.04, 96.82),
            "exact": (97.82, 98.27, 98.04),
            "partial": (98.34, 98.79, 98.56),
            "ent_type": (97.44, 97.88, 97.66),
        },
        {"LOC": (98, 98, 98), "MISC": (92, 93, 93), "ORG": (95, 96, 96), "PER": (98, 99, 99)},
    ),
    _qwen_7b(
        "CoNLL-2003 eng.testb",
        (3453, 46435, 5648),
        {
            "strict": (93.50, 93.96, 93.73),
            "exact": (96.39, 96.87, 96.63),
            "partial": (97.16, 97.65, 97.40),
            "ent_type": (94.36, 94.83, 94.60),
        },
        {"LOC": (95, 94, 95), "MISC": (82, 84, 83), "ORG": (92, 95, 93), "PER": (98, 97, 98)},
    ),
)


def published(gold: Gold) -> list[Published]:
    """Return the results published on this data, if its counts are those of a known file."""
    counts = (len(gold.sentences), gold.tokens, gold.entities)
    return [row for row in RESULTS if (row.sentences, row.tokens, row.entities) == counts]
