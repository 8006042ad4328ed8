"""What a part of the chain around every call of a tool looks like."""

from worker.tools.base import ToolCall, ToolError, ToolResult


class Middleware:
    """Sees every call. Subclasses override what they need."""

    async def before(self, call: ToolCall) -> ToolResult | None:
        """Look at a call before it runs; raise ToolError to refuse it, return a result to answer it."""
        return None

    async def after(self, call: ToolCall, result: ToolResult) -> ToolResult:
        """Return the result to go on with."""
        return result

    async def on_error(self, call: ToolCall, error: ToolError) -> ToolError:
        """Return the error to go on with."""
        return error
