"""`python -m ner_edge`, the same as the `ner-edge` command."""

from ner_edge.cli.app import main

main()
