"""The sentences of a text, for formats that hold words rather than text."""

from collections.abc import Callable, Iterator

from ner_edge.data.corpus import Problem, Sentence, shortened
from ner_edge.data.documents import Document, sentences_of
from ner_edge.data.formats.format import Losses


def sentences_to_write(
    document: Document, losses: Losses, fits: Callable[[str], bool] = lambda word: True
) -> Iterator[Sentence]:
    """Yield the sentences of a text, with its own words if it has them.

    A sentence is left out if an entity does not match its words, or if one of its words does not
    read back, such as one that contains a NUL.
    """
    located, left_out = sentences_of(document._replace(rejected=""), document.sentences)
    losses.left_out += left_out
    losses.entities += len(left_out)
    joined = " ".join(one.sentence.text for one in located)
    losses.unkept["white space between words"] += joined != document.text
    for one in located:
        sentence = one.sentence
        bad = next((word for word in sentence.words if "\0" in word or not fits(word)), None)
        if bad is not None:
            losses.left_out.append(Problem(one.line, f"the word {shortened(bad)} does not fit"))
        if bad is not None or one.unusable:
            losses.unkept["sentences, because of what is left out"] += 1
            losses.entities += len(sentence.spans)
        elif sentence.words:
            yield sentence
