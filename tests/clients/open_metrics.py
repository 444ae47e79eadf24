"""Reads a page of metrics from standard input as a strict client does, and writes what it found as JSON."""

import json
import sys

from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client import parser as prometheus

parse = (openmetrics if sys.argv[1] == "openmetrics" else prometheus).text_string_to_metric_families
families = list(parse(sys.stdin.read()))
samples = [sample for family in families for sample in family.samples]
exemplars = [
    {
        "name": sample.name,
        "labels": sample.labels,
        "trace_id": sample.exemplar.labels["trace_id"],
        "value": sample.exemplar.value,
        "at": float(sample.exemplar.timestamp),
    }
    for sample in samples
    if getattr(sample, "exemplar", None)
]
print(json.dumps({"families": len(families), "samples": len(samples), "exemplars": exemplars}))
