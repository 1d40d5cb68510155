"""Between LangChain and the engine; nothing here is public."""
