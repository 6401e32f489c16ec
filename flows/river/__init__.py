"""The pipeline as Prefect flows: its stages, the session that they share, what the UI shows of them."""
