"""Every error of the operator, by what happens next.

TrimtabError
├── SpecError          the object must be changed; its message says how
├── RetryLater         try again after a delay; nothing is wrong with the object
│   ├── Conflict       somebody else wrote first; read again
│   │   └── Moved      that was done: decide again at once
│   └── Unavailable    the API server or the store did not answer
└── Refused            the API server said no for good (admission, permission)
    └── NameTaken      an object of that name is somebody else's
"""


class TrimtabError(Exception):
    """Base of all errors that the operator raises itself."""


class SpecError(TrimtabError):
    """The object must be changed before anything can happen; the message says how."""


class RetryLater(TrimtabError):
    """Nothing is wrong with the object; the same pass may succeed later."""

    def __init__(self, message: str, after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.after_seconds = after_seconds


class Conflict(RetryLater):
    """Somebody else wrote first; the next pass reads again."""


class Moved(Conflict):
    """What a decision rests on has changed, and the view of it is the newest by now."""


class Unavailable(RetryLater):
    """The API server or a store did not answer in time."""


class Refused(TrimtabError):
    """The API server refused a write for good: admission, quota or permission."""


class NameTaken(Refused):
    """An object of the name that a child needs is somebody else's: nothing is written to it.

    The message names it and says what to do.
    """

    def __init__(self, message: str, *, kind: str, name: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.name = name


def installing(*extras: str) -> str:
    """Return the line that installs optional packages, which come with the source alone."""
    return f"pip install '.[{','.join(extras)}]' in Trimtab's source tree"


def plain(error: Exception) -> str:
    """Return what an error says; of one of the system its words, without number and file name."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror[:1].lower() + error.strerror[1:]
    return str(error)


def shown(said: object) -> str:
    """Return a text or error for a terminal, which must not obey what a server or a file wrote."""
    return "".join(
        one if one.isprintable() or one in "\n\t" else "\N{REPLACEMENT CHARACTER}"
        for one in str(said)
    )
