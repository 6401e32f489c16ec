"""Personal data in kept documents, replaced by typed placeholders."""
