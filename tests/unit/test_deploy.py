"""What can be known of the deployment files without an engine or a cluster: their form, and that they agree
with the program's commands and settings.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator, ValidationError
from prometheus_client.parser import text_string_to_metric_families

from app.settings import Settings
from app.telemetry import Metrics
from tests.conftest import PROJECT

DEPLOY = PROJECT / "deploy"
CHART = DEPLOY / "helm" / "rentgate"
COMMANDS = {"serve", "worker", "migrate", "sandbox"}
KINDS = {
    "settings.yaml": {"ConfigMap"},
    "migration.yaml": {"Job"},
    "gateway.yaml": {"Deployment", "Service", "PodDisruptionBudget", "HorizontalPodAutoscaler"},
    "worker.yaml": {"Deployment", "PodDisruptionBudget"},
    "network.yaml": {"NetworkPolicy"},
}


def settings_named(text: str) -> set[str]:
    return set(re.findall(r"\bRENTGATE_[A-Z_]+[A-Z]\b", text))


def known_settings() -> set[str]:
    return {f"RENTGATE_{name.upper()}" for name in Settings.model_fields}


def test_the_compose_file_runs_what_there_is() -> None:
    text = (DEPLOY / "compose.yaml").read_text()
    assert settings_named(text) <= known_settings()
    services = yaml.safe_load(text)["services"]
    assert set(services) == {"postgres", "migrate", "gateway", "worker", "sandbox"}
    assert {service["command"][0] for service in services.values() if "command" in service} == COMMANDS
    for service in services.values():
        for needed in service.get("depends_on", {}):
            assert needed in services


def rendered(template: Path) -> list[dict[str, Any]]:
    """A template's documents, with every action of the template language taken for a word."""
    lines = []
    for line in template.read_text().splitlines():
        if re.fullmatch(r"\s*\{\{-?.*\}\}\s*", line):
            continue
        word = re.sub(r"\{\{-? .*? -?\}\}", "word", line)
        lines.append(re.sub(r":\s*word$", ": {}", word) if "nindent" in line else word)
    return [document for document in yaml.safe_load_all("\n".join(lines)) if document]


@pytest.mark.parametrize("template", KINDS)
def test_each_template_is_yaml_of_the_kinds_that_it_should_be(template: str) -> None:
    documents = rendered(CHART / "templates" / template)
    assert {document["kind"] for document in documents} == KINDS[template]
    for document in documents:
        assert document["apiVersion"]
        assert document["metadata"]["name"]


def test_every_template_balances_its_blocks() -> None:
    for template in (CHART / "templates").iterdir():
        text = template.read_text()
        opened = len(re.findall(r"\{\{-? (?:if|range|with|define) ", text))
        assert opened == len(re.findall(r"\{\{-? end ", text)), template.name


def test_pods_run_commands_that_exist_and_as_nobody() -> None:
    for template in ("gateway.yaml", "worker.yaml", "migration.yaml"):
        for document in rendered(CHART / "templates" / template):
            pod = document.get("spec", {}).get("template", {}).get("spec")
            if pod:
                (container,) = pod["containers"]
                assert container["args"][0] in COMMANDS
                assert pod["automountServiceAccountToken"] is False
    names = (CHART / "templates" / "_names.tpl").read_text()
    assert "runAsNonRoot: true" in names
    assert "readOnlyRootFilesystem: true" in names


def test_the_charts_values_fit_their_schema_and_wrong_ones_do_not() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    Draft202012Validator.check_schema(schema)
    Draft202012Validator(schema).validate(values)
    for wrong in ({"gateway": {"replicas": 0, "autoscaling": {"enabled": True}}}, {"settings": {"DEBUG": 1}}):
        with pytest.raises(ValidationError):
            Draft202012Validator(schema).validate({**values, **wrong})


def test_the_image_runs_as_nobody_from_the_lock_file() -> None:
    text = (PROJECT / "Dockerfile").read_text()
    assert settings_named(text) <= known_settings()
    assert "--require-hashes" in text
    assert re.search(r"^USER rentgate$", text, re.MULTILINE)
    assert "HEALTHCHECK" in text


def counted() -> Metrics:
    """Metrics of a process that has done everything once."""
    made = Metrics()
    made.request("GET", "/rentals", 200, 0.1)
    made.upstream_call("orders", "succeeded", 0.1)
    made.set_aside("orders", "data[].until")
    made.pace_wait(0.1, background=True)
    made.pace_refused(background=False)
    made.read("sms", looked=False)
    made.measured(
        {"review": 1},
        accounts={"degraded": 1},
        oldest_unknown=0.0,
        look_age=0.0,
        deliveries_due=0,
        oldest_delivery=0.0,
        below_balance_mark=0,
        oldest_balance_reading=0.0,
    )
    made.operation_settled("create", "failed", 0.1)
    made.webhook("delivered", 0.1)
    return made


def known_metrics() -> dict[str, set[str]]:
    """The names under which a process gives its metrics, each with its labels."""
    families = text_string_to_metric_families(counted().render().decode())
    samples = [sample for family in families for sample in family.samples]
    return {s.name: set(s.labels) for s in samples if not s.name.endswith("_created")}


def family_of(name: str) -> str:
    """What a metric is called in its documentation: a histogram's parts by one name."""
    return re.sub("_(bucket|sum|count)$", "", name)


def metrics_named(text: str) -> set[str]:
    return set(re.findall(r"\brentgate_\w+", text))


def test_alerts_watch_metrics_that_there_are() -> None:
    rules = yaml.safe_load((DEPLOY / "alerts.yaml").read_text())
    expressions = [rule["expr"] for group in rules["groups"] for rule in group["rules"]]
    assert metrics_named(" ".join(expressions)) <= set(known_metrics())


def panels() -> list[dict[str, Any]]:
    """The dashboard's panels that show something."""
    found: list[dict[str, Any]] = json.loads((DEPLOY / "grafana-dashboard.json").read_text())["panels"]
    assert len({panel["id"] for panel in found}) == len(found)
    return [panel for panel in found if panel["type"] != "row"]


def test_the_dashboard_shows_every_metric_and_none_that_there_is_not() -> None:
    shown = metrics_named(" ".join(target["expr"] for panel in panels() for target in panel["targets"]))
    assert shown <= set(known_metrics())
    assert {family_of(name) for name in shown} == {family_of(name) for name in known_metrics()}


def test_the_dashboard_selects_and_groups_by_labels_that_its_metrics_have() -> None:
    known = known_metrics()
    for panel in panels():
        for target in panel["targets"]:
            expression = target["expr"]
            labels = {"instance"}.union(*(known[name] for name in metrics_named(expression)))
            grouped = {name for by in re.findall(r"by \((.*?)\)", expression) for name in by.split(", ")}
            selected = set(re.findall(r"(\w+)(?:=~|!=|=)\"", expression))
            assert grouped | selected | set(re.findall(r"{{(\w+)}}", target["legendFormat"])) <= labels


def test_the_dashboard_asks_the_data_source_that_is_chosen_on_it() -> None:
    board = json.loads((DEPLOY / "grafana-dashboard.json").read_text())
    (variable,) = board["templating"]["list"]
    assert (variable["name"], variable["type"], variable["query"]) == (
        "datasource",
        "datasource",
        "prometheus",
    )
    asked = [part["datasource"] for panel in panels() for part in (panel, *panel["targets"])]
    assert all(source == {"type": "prometheus", "uid": "${datasource}"} for source in asked)


def test_every_metric_is_documented_with_its_labels() -> None:
    page = (PROJECT / "docs" / "observing.md").read_text()
    rows = re.findall(r"^\| `(rentgate_\w+)` \| (.*?) ?\|", page, re.MULTILINE)
    listed = {name: set(re.findall(r"`(\w+)`", labels)) for name, labels in rows}
    assert listed == {family_of(name): labels - {"le"} for name, labels in known_metrics().items()}
