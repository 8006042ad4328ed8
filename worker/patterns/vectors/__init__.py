"""Vectors of texts, found again by likeness: an index over the record, in PostgreSQL or in Qdrant.

Work with `index.Vectors`, which `opening.open_vectors` gives: it checks what it is given and keeps every question
within its account. The stores behind it (`pgvector`, `qdrant`) implement `base.VectorStore`.
"""
