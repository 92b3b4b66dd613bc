"""What programs of others make of our reports: `readers.py ctrf|junit|statement FILE`. One JSON line, or a traceback."""

import json
import pathlib
import sys

import jsonschema
from google.protobuf import json_format
from in_toto_attestation.v1 import statement as intoto
from in_toto_attestation.v1 import statement_pb2
from junitparser import Error, Failure, JUnitXml, Skipped


def ctrf(path):
    schema = json.loads((pathlib.Path(sys.prefix) / "ctrf-schema-0.0.json").read_text())
    document = json.loads(path.read_text())
    jsonschema.validate(document, schema, format_checker=jsonschema.FormatChecker())
    return {"tests": len(document["results"]["tests"])}


def junit(path):
    root = JUnitXml.fromfile(str(path))
    counts = {"tests": 0, "failures": 0, "errors": 0, "skipped": 0}
    for suite in root:
        own = {"tests": 0, "failures": 0, "errors": 0, "skipped": 0}
        for case in suite:
            own["tests"] += 1
            for result in case.result:
                own["failures"] += isinstance(result, Failure)
                own["errors"] += isinstance(result, Error)
                own["skipped"] += isinstance(result, Skipped)
        for name, count in own.items():
            assert getattr(suite, name) == count, f"{suite.name}: {name} says {getattr(suite, name)}, has {count}"
            counts[name] += count
    for name, count in counts.items():
        assert getattr(root, name) == count, f"{name} says {getattr(root, name)}, has {count}"
    return counts


def statement(path):
    message = json_format.ParseDict(json.loads(path.read_text()), statement_pb2.Statement())
    parsed = intoto.Statement.copy_from_pb(message)
    parsed.validate()
    return {"digests": [subject.digest["sha256"] for subject in parsed.pb.subject], "type": parsed.pb.predicate_type}


kind, name = sys.argv[1:]
print(json.dumps({"ctrf": ctrf, "junit": junit, "statement": statement}[kind](pathlib.Path(name))))
