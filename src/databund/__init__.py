"""databund: an open data exchange for AI.

Organisations publish data, sell licenses to it as tokens on a chain, have it used only under the agreed terms,
and prove every step to anyone offline.
"""

__version__ = "0.1.0"
