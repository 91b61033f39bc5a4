"""What puts runs on record: typed configs name a run, protocols make it, grids and sweeps make many."""
