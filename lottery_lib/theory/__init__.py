"""How far a learned mask can be from one that was planted: problems, solutions, bounds, and what a step conserves."""
