"""ONNX: any Program as models of standard operators, and executors that run them (SPEC 5, docs/onnx.md)."""
