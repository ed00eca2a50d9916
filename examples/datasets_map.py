"""A Hugging Face data set with a column of entities."""

from datasets import Dataset, Features, Value

from ner_edge import Tagger

messages = Dataset.from_dict({"text": ["Ada Lovelace lives in London.", "Nobody came."]})
entity = {name: Value("int64") for name in ("start", "end")}
entity |= {name: Value("string") for name in ("text", "label")} | {"score": Value("float64")}
with Tagger.load() as tagger:
    tagged = messages.map(
        lambda texts: {"entities": tagger.batch_predict_entities(texts)},
        input_columns="text",
        batched=True,
        features=Features({**messages.features, "entities": [entity]}),  # some batches have none
        new_fingerprint="messages-conll2003-135m",  # a loaded model cannot be hashed
    )
for message in tagged:
    print(message["text"], [found["text"] for found in message["entities"]])
