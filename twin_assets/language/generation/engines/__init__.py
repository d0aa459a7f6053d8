"""The engines that compute in this process: ONNX Runtime and torch."""
