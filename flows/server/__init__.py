"""Prefect on this machine: server, worker, profile and deployments."""
