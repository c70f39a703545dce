"""Importer clean-up, one small pass a file: ONNX model in, ONNX model out."""
