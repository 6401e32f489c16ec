"""The scan: takes a source's texts, in one pass; gives the columns that every later decision is made on."""
