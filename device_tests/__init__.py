"""The same bundle, checked where it will run: `pytest device_tests --bundle PATH --target NAME`.

Golden vectors of the bundle are replayed through each format's own runtime on a *target*: this
machine, an emulated arm64 core, later a phone. `device_tests.targets` has the table of targets,
`device_tests.protocol` what a runner on a target is told and answers.
"""
