"""The engines: plain Python and NumPy. Nothing in here knows LangChain."""
