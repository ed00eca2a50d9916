"""With the default model on this machine, everything works without a network."""

import os
import shutil
import subprocess
import sys
from importlib.resources import as_file, files
from pathlib import Path

import pytest

from ner_edge.builtin import DEFAULT_MODEL, built_in_model

pytestmark = pytest.mark.model
NEWS = Path(__file__).parent.parent / "examples" / "news.conll"
TEXT = "Ada Lovelace lived in London.\n"


def without_network(*arguments: object) -> str:
    """Run a command where no address can be reached, and return its standard output."""
    isolated = ["unshare", "--map-root-user", "--net"]
    try:
        subprocess.run([*isolated, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):  # not Linux, or forbidden
        isolated = []
    proxies = {f"{scheme}_proxy": "http://127.0.0.1:9" for scheme in ("http", "https")}
    environment = os.environ | proxies | {"PYTHONWARNINGS": "ignore"}
    command = [*isolated, sys.executable, "-m", "ner_edge", *map(str, arguments)]
    result = subprocess.run(
        command, input=TEXT, env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.usefixtures("base_gguf")
def test_tag_redact_eval_and_export(tmp_path):
    built_in_model(DEFAULT_MODEL)
    tagged = "[Ada Lovelace | PER] lived in [London | LOC].\n"
    assert without_network("tag") == tagged
    assert without_network("redact") == "[PER_1] lived in [LOC_1].\n"
    few = tmp_path / "few.conll"
    few.write_text("\n\n".join(NEWS.read_text().split("\n\n")[:3]) + "\n")
    assert "3 sentences" in without_network("eval", few, "--no-speed", "--no-cache")
    with as_file(files("ner_edge").joinpath("default")) as default:
        adapter = shutil.copytree(default, tmp_path / "adapter")
    exported = without_network("export", adapter, "--quant", "q8_0", "--out", tmp_path).strip()
    assert without_network("tag", "-m", exported) == tagged
