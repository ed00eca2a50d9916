"""Entities and their scores in a spaCy pipeline."""

import spacy

TEXTS = [
    "Ada Lovelace wrote to Charles Babbage. She lived in London.",
    "The ferry from Oslo to Kiel was late.",
]

nlp = spacy.blank("en")
nlp.add_pipe("sentencizer")
nlp.add_pipe("ner_edge", config={"min_score": 0.5})

for doc in nlp.pipe(TEXTS):
    for sentence in doc.sents:
        print(sentence)
        for entity in sentence.ents:
            print(f"  {entity.label_}  {entity._.score:.1f}  {entity}")
