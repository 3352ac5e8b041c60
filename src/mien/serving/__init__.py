"""A REST service, live cameras and the page: recognition for browsers and other programs."""

import os

# Official builds of ONNX Runtime report to Microsoft from 1.29 on, unless this is set before they are
# imported (https://github.com/microsoft/onnxruntime/pull/27379): nothing leaves the machine from here.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
