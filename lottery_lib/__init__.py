"""Winning tickets by concave mask regularisation (arXiv 2501.11135): one thin, readable library.

Read it in the order in which data flow through it: ``data``, ``models``, ``regularizers``, ``masks``, ``relaxation``,
``training``, ``methods``, ``tickets``, ``ticket_runs``, ``records``, ``analysis``, ``figures``.
"""

__version__ = "0.1.0"
