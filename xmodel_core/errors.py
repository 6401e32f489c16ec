"""What a person reads when something is wrong: one message, no traceback.

A message says what is wrong, what was expected, what was found, where, and what to do about it.
`XmodelError` is for people; `assert` is for ourselves. Only `TransientError` is worth a retry.
"""


class XmodelError(Exception):
    """A failure that a person can act on.

    The parts that are given become the lines of one message, in a fixed order.
    """

    def __init__(
        self,
        what: str,
        *,
        expected: object = None,
        found: object = None,
        where: object = None,
        remedy: str | None = None,
    ) -> None:
        parts = [("expected", expected), ("found", found), ("where", where), ("what to do", remedy)]
        lines = [what] + [f"  {label}: {value}" for label, value in parts if value is not None]
        super().__init__("\n".join(lines))
        self.what = what

    def __reduce__(self) -> tuple[type, tuple[str]]:
        # A worker process sends its error home: the message is whole, so it travels as one argument.
        return type(self), (str(self),)


class TransientError(XmodelError):
    """A failure that may be gone at the next try: a worker that died, a service that did not answer."""
