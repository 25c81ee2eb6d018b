"""Text models in GGUF, computed by OpenVINO in a worker process that stands in for llama.cpp's server.

Nothing here is imported by the service: `runtimes.llamacpp` starts `worker` as a process where it is faster.
"""
