"""Prefect on this machine: server, worker, profile and deployments.

Takes a workspace and a port; gives processes that outlive the shell (`host`: up and down; `status`), or a server for
the time of one command (`embedded`). `default_deployment` is a plugin that Prefect itself loads.
"""
