"""When things happen: Prefect flows, the `xmodel` command, and nothing else.

Every stage is one Prefect task; what a stage does is in xmodel_core.
"""
