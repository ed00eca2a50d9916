"""A forked process refuses to use its parent's model, rather than hang."""

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

# The parent, with {0} threads, must end as well as the child, for which there is {1}.
PROGRAM = """
import asyncio, os, signal, sys
from pathlib import Path
from ner_edge.errors import UsageError
from ner_edge.tagger import Tagger

def load(threads):
    return Tagger.load(Path(sys.argv[1]), threads=threads)

tagger = load({0})
before = tagger("Zoe lives in Rome.")
assert asyncio.run(tagger.atag("Zoe lives in Rome.")) == before
child = os.fork()
if child == 0:
    signal.alarm(60)
    try:
        {1}
    except UsageError as error:
        print(error)
    sys.exit()
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
assert tagger("Zoe lives in Rome.") == before
tagger.close()
"""

USE = "tagger('Zoe lives in Rome.')"
NOT_HERE = (
    "this model was loaded before the process was forked, and a fork does not copy llama.cpp's "
    "threads: load it in the child (in the initializer of a multiprocessing.Pool, in gunicorn "
    "without --preload)\n"
)
NO_THREADS = (
    "the parent process has run a model on several threads, so this one cannot: pass threads=1, "
    "load no model before the fork, or start processes with multiprocessing's 'spawn'\n"
)


NO_GPU = (
    "the parent process has loaded a model, so this one cannot use the GPU: pass gpu_layers=0, "
    "load no model before the fork, or start processes with multiprocessing's 'spawn'\n"
)


@pytest.mark.parametrize(
    ("threads", "child", "said"),
    [
        (2, USE, NOT_HERE),
        (1, USE, NOT_HERE),
        (2, "tagger.round_trip('Zoe')", NOT_HERE),
        (2, "tagger.completion_request(['Zoe'])", NOT_HERE),
        (2, "tagger.close()", ""),
        (1, "asyncio.run(tagger.atag('Zoe lives in Rome.'))", NOT_HERE),
        (2, "del tagger", ""),
        (2, "pass", ""),
        (2, "load(2)", NO_THREADS),
        (2, "print(load(1)('Zoe lives in Rome.') == before)", "True\n"),
        (1, "print(load(2)('Zoe lives in Rome.') == before)", "True\n"),
    ],
)
def test_forked(threads, child, said, tiny):
    program = PROGRAM.format(threads, child)
    command = [sys.executable, "-c", program, str(tiny.gguf)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == f"{said}0\n"


def test_a_model_is_closed_that_another_thread_was_using(tiny):
    program = """
import os, signal, sys, threading, time
from pathlib import Path
from ner_edge.tagger import Tagger

tagger = Tagger.load(Path(sys.argv[1]), threads=1)
thread = threading.Thread(target=tagger, args=["Zoe lives in Rome. " * 2000], daemon=True)
thread.start()
while not tagger._scheduler._stepping:
    time.sleep(0.001)
child = os.fork()
if child == 0:
    signal.alarm(20)
    tagger.close()
    os._exit(0)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
tagger.close()
"""
    command = [sys.executable, "-c", program, str(tiny.gguf)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert result.stdout == "0\n"


@pytest.mark.parametrize(("layers", "said"), [("None", NO_GPU), ("12", NO_GPU), ("0", "child\n")])
def test_a_gpu_belongs_to_the_process_that_found_it(layers, said, tiny):
    program = f"""
import os, sys
from pathlib import Path
import llama_cpp
from ner_edge.errors import UsageError
from ner_edge.tagger import Tagger

llama_cpp.llama_supports_gpu_offload = lambda: True
Tagger.load(Path(sys.argv[1]), threads=1, gpu_layers=0).close()
if child := os.fork():
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
try:
    Tagger.load(Path(sys.argv[1]), threads=1, gpu_layers={layers}).close()
    print("child")
except UsageError as error:
    print(error)
"""
    command = [sys.executable, "-c", program, str(tiny.gguf)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (result.returncode, result.stderr, result.stdout) == (0, "", said)


def test_a_pool_loads_in_its_initializer(tiny):
    program = """
import multiprocessing, sys
from pathlib import Path

def load():
    global tagger
    from ner_edge.tagger import Tagger
    tagger = Tagger.load(Path(sys.argv[1]), threads=2)

def tag(text):
    return len(tagger(text))

with multiprocessing.get_context("fork").Pool(2, load) as pool:
    found = pool.map(tag, ["Zoe lives in Rome."] * 4)
assert len(set(found)) == 1
"""
    command = [sys.executable, "-c", program, str(tiny.gguf)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (result.returncode, result.stderr) == (0, "")
