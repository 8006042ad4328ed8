"""Umbel as an MCP server: its tools are calls of Umbel's API, made with the caller's own key.

`umbel mcp --stdio` serves one program over its standard input and output, `umbel mcp` many over HTTP. Needs the
extra `mcp` of this package; nothing else of it imports this folder before it is asked to serve.
"""
