"""Lava processes and their models, and nothing else: Lava imports every file of this directory.

They need Lava; `ska_edge.backends.lava.network.SkaNetwork` puts them together.
"""
