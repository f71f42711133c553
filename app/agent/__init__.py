"""The app as a test's hand: a job file in, a result file out, nothing drawn, nothing touched.

    schema.py    the jobs and their results; strict JSON, described in device_tests/README.md
    calls.py     one artifact and arrays: raw outputs and times come back
    replay.py    a whole bundle: golden vectors through everything that runs here, and a benchmark
    perform.py   a job file to a result file and an exit code
    intent.py    how a phone is asked: an extra of the intent that starts the app

It is the app's own code that runs: its platform's runtimes, its benchmark, its machine facts.
"""

from app.agent.perform import perform

__all__ = ["perform"]
