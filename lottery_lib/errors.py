"""The one exception that is a message to the user."""


class LotteryError(ValueError):
    """Bad input. Its text is one sentence: what was wrong, and what would be right.

    The command line prints it and exits with 1.
    """
