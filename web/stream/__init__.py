"""Live events for readers that come and go.

    Redis ──listener──▶ hub ──▶ mailbox (bounded) ──▶ reader ──▶ WebSocket, SSE or long poll
    PostgreSQL ──sweep──▶ ┘        rows and texts ──────┘

Pub/sub only makes things fast. A reader knows the number of the last event it delivered; anything that does not
continue it makes the reader look at the rows. So every reader sees exactly 1..n in order, whatever Redis does.
"""

from web.stream.hub import Hub
from web.stream.mailbox import Envelope, Subscription
from web.stream.reader import Reader

__all__ = ["Envelope", "Hub", "Reader", "Subscription"]
