"""A column of entities beside a column of texts, then a table with a row per entity."""

import pandas as pd

from ner_edge import Tagger

messages = pd.DataFrame(
    {"text": ["Ada Lovelace lives in London.", "Nobody came.", "Call Grace Hopper."]}
)
with Tagger.load() as tagger:
    messages["entities"] = list(tagger.pipe(messages["text"]))

rows = messages["entities"].explode().dropna()
entities = pd.DataFrame(rows.tolist(), index=rows.index)
print(entities[["label", "text", "start", "end"]])
