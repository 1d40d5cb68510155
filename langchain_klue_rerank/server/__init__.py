"""An HTTP server that speaks Cohere's, Jina's, OpenAI's and TEI's requests, and an MCP server."""
