"""What can go wrong with a tool of an MCP server. Each error has a stable code and a message that tells the cure.

McpError
├── ServersRefused      the file of servers can't be used
├── UnknownTool         there is no such server or tool
├── ToolChanged         the tool is no longer what was approved
├── Unavailable         the server can't be reached; the call was never sent
├── TimedOut            no answer within the time limit
├── Closed              the connection ended while the call was under way
├── BadAnswer           the answer can't be understood
├── AnswerTooLarge      the answer is larger than allowed
├── InputRequired       the server asks for something before it goes on
└── ToolFailed          the tool itself says that it failed
"""

from typing import Any, ClassVar

from worker.tools.base import ToolError


class McpError(ToolError):
    """A call of a tool of an MCP server failed."""

    code = "mcp_failed"
    retryable: ClassVar[bool] = False


class ServersRefused(McpError):
    """The file of servers can't be used; the message names the key at fault."""

    code = "mcp_servers_refused"


class UnknownTool(McpError):
    """There is no such server or tool; the message names those there are."""

    code = "mcp_unknown_tool"


class ToolChanged(McpError):
    """The tool's description or schema is no longer the approved one."""

    code = "mcp_tool_changed"


class Unavailable(McpError):
    """The server can't be reached now; the call was never sent."""

    code = "mcp_unavailable"
    retryable = True

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        if retry_after_s:
            self.detail["retry_after_s"] = round(retry_after_s, 1)
        self.retry_after_s = retry_after_s


class TimedOut(McpError):
    """The server did not answer in time; what it did by then is not known."""

    code = "mcp_timeout"

    def __init__(self, message: str) -> None:
        super().__init__(message, ambiguous=True)


class Closed(McpError):
    """The connection ended while the call was under way; what the server did by then is not known."""

    code = "mcp_closed"

    def __init__(self, message: str) -> None:
        super().__init__(message, ambiguous=True)


class BadAnswer(McpError):
    """The tool ran, and its answer does not keep to the protocol or to the tool's own schema."""

    code = "mcp_bad_answer"

    def __init__(self, message: str) -> None:
        super().__init__(message, ambiguous=True)


class AnswerTooLarge(McpError):
    """The tool ran, and its answer is larger than allowed."""

    code = "mcp_answer_too_large"

    def __init__(self, message: str) -> None:
        super().__init__(message, ambiguous=True)


class InputRequired(McpError):
    """The server asks for something before it goes on with the call.

    Attributes:
        requests: what is asked, by key, as the protocol's JSON.
        state: to be handed back with the answers, if the server gave it.
    """

    code = "mcp_input_required"

    def __init__(self, message: str, requests: dict[str, Any], state: str | None) -> None:
        super().__init__(message, requests=requests)
        self.requests = requests
        self.state = state


class ToolFailed(McpError):
    """The tool, or the server on its behalf, says that the call failed."""

    code = "mcp_tool_failed"
