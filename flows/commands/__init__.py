"""The commands of `xmodel`, one file each (or one for commands that belong together), named after them.

Takes parsed options; gives printed text or JSON and, where something fails, an exception that `flows.cli` turns into
a message and an exit code. `flows.cli.COMMANDS` lists them. Command files import what is heavy (Prefect, torch,
pyarrow, pydantic models) inside their functions, so that `xmodel COMMAND --help` answers at once.
"""
