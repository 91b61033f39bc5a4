"""What protocols share whose runs look closer at the calibrated search of a ticket's run, and are set beside it."""

from typing import ClassVar

from lottery_lib.experiments.ticket_run import TicketRun
from lottery_lib.methods import calibration


class Following:
    """A config whose run is computed as the one it follows, and is another where that is."""

    version: ClassVar[int]  # raised when the same fields would give other numbers

    @property
    def followed(self) -> TicketRun:
        """The run whose search is looked at."""
        raise NotImplementedError

    @property
    def vectors(self) -> str:
        return self.followed.vectors

    @property
    def threads(self) -> int | None:
        return self.followed.threads

    @property
    def edition(self) -> list[int]:
        """Versions, of which a run's name holds its own, the followed protocol's and the calibrated search's."""
        return [self.version, self.followed.version, calibration.VERSION]
