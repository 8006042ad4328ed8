"""Texts as vectors: by a model through the gateway, by sentence vectors computed here, or by the words alone.

Work with `embedding.Embedding`, which `opening.open_embedding` gives.
"""
