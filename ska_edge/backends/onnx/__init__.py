"""ONNX: any Program as models of standard operators, executors that run them, and a learner over exported files.

`from ska_edge.backends.onnx.learner import OnnxLearner` (docs/onnx.md).
"""
