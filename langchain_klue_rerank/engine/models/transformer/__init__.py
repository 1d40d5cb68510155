"""Models of sentence-transformers, computed by torch or ONNX Runtime."""
