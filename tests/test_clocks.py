"""No test asserts a duration: bench/ measures time, and tests count.

A clock may only end a loop that waits for something. The tool that tests mutants prints seconds.
"""

import ast
import re
from pathlib import Path

TESTS = Path(__file__).parent
CLOCK = r"\b(?:time|monotonic|perf_counter|process_time|thread_time)(?:_ns)?\(\)"
ELAPSED = re.compile(rf"{CLOCK}\s*-\s*[^\d\s]|-\s*(?:\w+\.)?{CLOCK}|getrusage")
"""A difference of two clock readings, in code or in text that is executed; ages are allowed."""


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
