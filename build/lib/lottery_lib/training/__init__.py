"""How a network is trained (``recipes``), and the one loop that does it (``loop``)."""
