"""The report's footnotes: the data, and what the columns mean."""

from ner_edge.eval.agreement import SENTENCES
from ner_edge.eval.bootstrap import EQUIVALENT
from ner_edge.eval.comparison import Comparison
from ner_edge.eval.cost import PROMPT
from ner_edge.eval.report.published import QUOTED, published
from ner_edge.eval.report.tables import DELTA_F1, summaries

_ECE = "ECE: expected calibration error of the entities' scores, in percentage points."
_KL = (
    "KL: mean KL divergence of a decision from the baseline's, in thousandths of a nat. Same: "
    f"decisions with the same most probable branch. Both on at most {SENTENCES} sentences."
)
_COST = (
    "Peak memory: resident memory of a process that loads the model and tags a few sentences, "
    f"without GPU memory. Prompt tokens/s: one batch of {PROMPT} tokens."
)
_FAULTS = (
    "Lenient F1: if an output's words are not the sentence's, entities match by label and text, "
    "in any position. Verbatim: outputs whose words are the sentence's. Malformed: outputs with a "
    "bracket that is not closed by a known label. Misaligned: malformed or not verbatim. The "
    "decoders copy and grammar produce neither."
)


def footnotes(comparison: Comparison) -> list[str]:
    """Return the counts of the data, then an explanation of each column shown."""
    shown = {column for table in summaries(comparison) for column in table.columns}
    explanations = {
        "ECE (%)": [_ECE],
        DELTA_F1: _differences(comparison),
        "KL (mnat)": [_KL],
        "Prompt tokens/s": [_COST],
        "Sentences/s": _hardware(comparison),
        "Lenient F1": [_FAULTS],
    }
    return [
        _data(comparison),
        *(line for column, lines in explanations.items() if column in shown for line in lines),
        *(
            f"{row.model} {QUOTED}: strict micro F1 on {row.data}, {row.source}."
            for row in published(comparison.gold)
        ),
    ]


def _data(comparison: Comparison) -> str:
    decoders = sorted({result.decoder for result in comparison.results if result.decoder})
    decoding = f"; decoder: {', '.join(decoders)}" if decoders else ""
    return f"{comparison.gold.path.name}: {comparison.gold.describe()}{decoding}."


def _differences(comparison: Comparison) -> list[str]:
    verdicts: dict[str, list[str]] = {}
    for name, difference in comparison.differences.items():
        if difference.verdict is not None:
            verdicts.setdefault(difference.verdict, []).append(name)
    listed = "; ".join(f"{verdict}: {', '.join(names)}" for verdict, names in verdicts.items())
    return [
        f"ΔF1: percentage points against {comparison.baseline} on the same sentences, with a "
        "paired bootstrap interval. Flips: sentences whose entities differ.",
        f"Verdicts (equivalent: within ±{EQUIVALENT}): {listed}.",
    ]


def _hardware(comparison: Comparison) -> list[str]:
    timed = [result for result in comparison.results if result.seconds is not None]
    hardware = sorted({result.hardware for result in timed if result.hardware})
    return [f"Sentences/s: on {' or '.join(hardware)}."] if hardware else []
