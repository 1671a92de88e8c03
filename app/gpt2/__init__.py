"""What the model is: tensors and files. Knows no request, no server, no setting."""
