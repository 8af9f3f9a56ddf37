"""Networks for use without this program: ONNX files and torch.export programs."""
