"""The kept documents and samples of the dropped, written."""
