"""The tests of muP: do activations keep their size, and does the best learning rate stay, as a model grows wider?

Takes training inputs and widths; gives a table and pictures. `scaled.py` makes the models and schedules compared.
"""
