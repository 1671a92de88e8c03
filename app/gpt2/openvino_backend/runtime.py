"""OpenVINO's runtime without its converter.

The converter, which `import openvino` brings along where it can, tells a statistics server on the
internet of every import. We never convert; a converter that cannot be imported is left out.
"""

import importlib
import sys

sys.modules["openvino.tools.ovc"] = None  # Python's way to say that there is no such module

ov = importlib.import_module("openvino")
op = importlib.import_module("openvino.opset13")
PagedAttention = importlib.import_module("openvino.op")._PagedAttentionExtension
