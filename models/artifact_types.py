"""What kinds of artifacts there are."""

from enum import StrEnum


class ArtifactType(StrEnum):
    """What an artifact is to whoever looks at it."""

    CODE = "code"
    TERMINAL = "terminal"  #: what a command printed
    IMAGE = "image"
    VIDEO = "video"
    DOCUMENT = "document"
    DATA = "data"
    WEB = "web"  #: a page, or a link to one
    INTERACTIVE = "interactive"
    DESKTOP = "desktop"  #: a link to a desktop session


#: Longest name and title, in characters.
NAME_MAX = 255
TITLE_MAX = 200
