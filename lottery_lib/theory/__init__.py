"""How far a learned mask can be from the mask that was planted: problems, solutions, bounds, and what a step conserves."""
