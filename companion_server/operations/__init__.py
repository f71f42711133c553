"""Running a companion server: what it counts, traces, logs, refuses and shows.

    records.py     one request as metrics, traces and the status page see it
    telemetry.py   the ASGI middleware that makes and finishes records
    metrics.py     Prometheus            tallies.py   its counters and histograms
    reasons.py     why something was turned away, in one word
    rolling.py     the last minute: quantiles by stage, rates, the phones seen
    tracing.py     W3C trace context and OpenTelemetry
    logs.py        structured lines on standard error
    limits.py      bytes of request bodies in flight, bounded
    protocol.py    slow, endless and too many connections, bounded
    refusals.py    what they are told       loops.py      TLS handshakes, bounded
    status.py      `/v2/status`          status_page.py   the page at `/`
    routes.py      these and `/metrics`
    configfile.py  settings from a TOML file
    probe.py       is it ready? for Docker, as `python -m`

Importing this package imports none of them.
"""
