"""What the records say: the table of runs, comparisons, verdicts on the claims, and sentences for pages."""
