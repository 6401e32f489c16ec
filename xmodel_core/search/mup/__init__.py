"""Tests of muP: coordinate check and learning-rate transfer, over scaled models."""
