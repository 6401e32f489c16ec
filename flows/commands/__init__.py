"""The verbs of the `xmodel` command: what each takes, does and prints."""
