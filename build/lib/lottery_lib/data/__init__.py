"""Data as training wants it: a reader's own (``batches``), or the experiments' (``datasets``, as ``images``)."""
