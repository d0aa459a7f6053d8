"""What computes here: one base model's weights, by ONNX Runtime or by torch."""
