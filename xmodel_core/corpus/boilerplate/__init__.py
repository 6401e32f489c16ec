"""Lines that a source repeats over many documents, counted and removed."""
