"""Decontamination: takes a folder of benchmarks; gives an index that finds passages of their items in documents."""
