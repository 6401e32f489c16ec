"""Short programs: Python modules of three to five functions and the lines that call them.

Takes a random stream; gives an endless stream of texts, each of them valid Python. Conditions and
expressions come from a small grammar over random names and numbers, so bodies differ, not only names.
"""

from collections.abc import Iterator
from random import Random

_NOUNS = ("number", "word", "page", "line", "day", "book", "name", "step")
_VERBS = ("count", "sum", "find", "sort", "pick", "read", "test", "make")
_RESULTS = ("total", "result", "best", "rest")
_REASONS = ("for the report", "in one pass", "as the test wants", "without a copy", "line by line")


def _expression(name: str, rng: Random) -> str:
    a, b = rng.randint(2, 20), rng.randint(2, 9)
    return rng.choice(
        (f"{name} + {a}", f"{name} * {b}", f"{name} - {a}", f"{name} // {b} + {a}", f"({name} + {a}) * {b}")
    )


def _condition(name: str, rng: Random) -> str:
    a, b = rng.randint(2, 90), rng.randint(2, 9)
    return rng.choice((f"{name} > {a}", f"{name} % {b} == {rng.randrange(b)}", f"{name} < {a}", f"{name} != {a}"))


def _loop(each: str, many: str, result: str, rng: Random) -> list[str]:
    return [
        f"    {result} = {rng.randint(0, 9)}",
        f"    for {each} in {many}:",
        f"        if {_condition(each, rng)}:",
        f"            {result} += {_expression(each, rng)}",
        *rng.choice(([], ["        else:", f"            {result} -= {rng.randint(1, 9)}"])),
        f"    return {result}",
    ]


def _gather(each: str, many: str, result: str, rng: Random) -> list[str]:
    return [
        f"    {result} = []",
        f"    for {each} in sorted({many}):",
        f"        if {_condition(each, rng)} and {_condition(each, rng)}:",
        "            continue",
        f"        {result}.append({_expression(each, rng)})",
        f"    return {result}",
    ]


def _shorthand(each: str, many: str, result: str, rng: Random) -> list[str]:
    return [
        f"    {result} = [{_expression(each, rng)} for {each} in {many} if {_condition(each, rng)}]",
        f"    return {rng.choice(('sum', 'len', 'sorted', 'set'))}({result})",
    ]


def _table(each: str, many: str, result: str, rng: Random) -> list[str]:
    return [
        f"    {result} = {{}}",
        f"    for {each} in {many}:",
        f"        key = {_expression(each, rng)}",
        f"        {result}[key] = {result}.get(key, {rng.randint(0, 5)}) + {rng.randint(1, 5)}",
        f"    return {result}",
    ]


def _while(each: str, many: str, result: str, rng: Random) -> list[str]:
    return [
        f"    {result} = len({many})",
        f"    {each} = {rng.randint(1, 30)}",
        f"    while {each} < {rng.randint(40, 99)}:",
        f"        {each} += {rng.randint(1, 9)}",
        f"        {result} += {_expression(each, rng)}",
        f"    return {result}",
    ]


def programs(rng: Random) -> Iterator[str]:
    """Modules without end; functions are separated by two empty lines, as PEP 8 asks."""
    while True:
        blocks, calls = [], []
        taken: set[str] = set()
        for _ in range(rng.choice((3, 4, 5))):
            noun, verb, result = rng.choice(_NOUNS), rng.choice(_VERBS), rng.choice(_RESULTS)
            name, many = f"{verb}_{noun}s", f"{noun}s"
            if name in taken:
                continue
            taken.add(name)
            body = rng.choice((_loop, _gather, _shorthand, _table, _while))(noun, many, result, rng)
            doc = f'    """{verb.capitalize()} the {noun}s and return the {result}, {rng.choice(_REASONS)}."""'
            blocks.append("\n".join([f"def {name}({many}):", doc, *body]))
            numbers = ", ".join(str(rng.randint(1, 99)) for _ in range(rng.randint(3, 6)))
            calls.append(f"print({name}([{numbers}]))")
        yield "\n\n\n".join([*blocks, "\n".join(calls)]) + "\n"
