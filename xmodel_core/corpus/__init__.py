"""Documents: read, scanned once, judged on columns, written.

Takes the raw files of sources; gives scans (one per source: text, features, signature) and a
corpus (decisions with a reason for each drop, the kept documents, samples of the dropped).
The order is fixed: scan (the only pass that decodes text) → decisions (columns only) → documents.
"""
