"""Which documents are kept, and why the others are dropped; on columns alone."""
