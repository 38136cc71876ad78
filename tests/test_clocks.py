"""No test asserts how long something took: bench/ measures that, and tests count.

A clock may only end a loop that waits for something. The tool that tries mutants prints seconds.
"""

import ast
import re
from pathlib import Path

TESTS = Path(__file__).parent
CLOCK = r"\b(?:time|monotonic|perf_counter|process_time|thread_time)(?:_ns)?\(\)"
ELAPSED = re.compile(rf"{CLOCK}\s*-\s*[^\d\s]|-\s*(?:\w+\.)?{CLOCK}|getrusage")
"""A clock minus another reading of it, in code and in text that is run; not an age in seconds."""


def test_no_elapsed_time_is_asserted():
    found = []
    for file in sorted(TESTS.rglob("*.py")):
        if file == Path(__file__) or file.parent.name == "mutants":
            continue
        text = file.read_text()
        found += [(file.name, elapsed) for elapsed in ELAPSED.findall(text)]
        tree = ast.parse(text)
        loops = [node for node in ast.walk(tree) if isinstance(node, ast.While | ast.For)]
        waiting = {node for loop in loops for node in ast.walk(loop)}
        asserts = {node for node in ast.walk(tree) if isinstance(node, ast.Assert)} - waiting
        found += [(file.name, said) for said in map(ast.unparse, asserts) if re.search(CLOCK, said)]
    assert found == []
